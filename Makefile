# Everything is in ./dev; this file gives it the names that people expect.
.PHONY: help demo test model machines simulate soak chaos bench bench-full stack lint format requirements clean

help:
	@./dev help

demo: ## make demo ARGS=--once
	@./dev demo $(ARGS)

test: ## make test ARGS="-k refund"
	@./dev test $(ARGS)

model: ## every state of the protocol's models, with larger numbers
	@./dev model

machines: ## histories that Hypothesis draws, for hours: make machines ARGS="-k ledger"
	@./dev machines $(ARGS)

simulate: ## random schedules: make simulate ARGS="--seeds 1000 --from 1"
	@./dev simulate $(ARGS)

soak: ## load without faults: make soak ARGS="--jobs 10000"
	@./dev soak $(ARGS)

bench: ## a quick slice beside Celery, DBOS and a bare loop; make bench ARGS="--systems aetheris --workloads W1"
	@./dev bench --quick $(ARGS)

bench-full: ## every system, W1 to W8, five rounds
	@./dev bench --rounds 5 $(ARGS)

chaos: ## faults of every kind; make chaos ARGS="--jobs 2000 --seed 7", or ARGS=--redis
	@./dev chaos $(ARGS)

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
