"""A small JSON service on a local port, with faults on request.

The payment service and the scripted model are built on it. It is the outside world of the examples, so it
uses the standard library alone and imports neither Django nor the runtime.
"""
