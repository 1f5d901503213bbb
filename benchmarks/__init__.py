"""Aetheris beside other systems: the same jobs, on the same servers, in alternating rounds.

The harness (this package's modules) runs in the project's environment. What a system does is one file in
`systems/`, run by `peer.py` in an environment of its own. Steps leave a line each in a file (`witness.py`): that
is how it is known that all of them ran once, and when.
"""
