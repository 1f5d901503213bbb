"""Process chaos: a real stack, jobs of every kind, and faults that a seed chooses. See docs/testing.md."""
