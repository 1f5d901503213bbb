"""Agents and tools that act on the witness: an app of the stack that these tests run."""
