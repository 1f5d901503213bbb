"""A scripted local model that speaks the OpenAI chat completions protocol.

It stands in for a model where there is no key: the same messages always get the same answer, by rules that
can be read in `script.py`. It counts what it was asked and can be told to fail.
"""
