"""The demo: the refund agent on a real stack, an independent witness, a worker killed in the middle."""
