# Everything is in ./dev; this file gives it the names that people expect.
.PHONY: help demo test stack lint format requirements clean

help:
	@./dev help

demo: ## make demo ARGS=--once
	@./dev demo $(ARGS)

test: ## make test ARGS="-k refund"
	@./dev test $(ARGS)

stack:
	@./dev stack $(ARGS)

lint:
	@./dev lint

format:
	@./dev format

requirements:
	@./dev requirements $(ARGS)

clean:
	@./dev clean
