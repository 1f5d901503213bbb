"""Histories of runs: how they are exported, and the checker that judges them."""
