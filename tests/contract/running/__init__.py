"""Strict steps and narrative, on real servers."""
