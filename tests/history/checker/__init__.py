"""Judges the history of a run: what must hold of jobs, of the world and of what clients were told.

It reads JSON lines (the format is in docs/testing.md), knows the rules from the documents, and imports nothing of the
product and nothing but the standard library: it cannot share a mistake with what it judges.
"""

from tests.history.checker.judge import judge
from tests.history.checker.violation import RULES, Violation

__all__ = ["RULES", "Violation", "judge"]
