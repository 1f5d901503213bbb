"""Many seeds in a row, and the one line that a run prints."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from django.db import connection
from django.test.utils import setup_databases, teardown_databases

from runtime.ports import CrashPoint
from tests.simulation.boundaries import simulated_clock
from tests.simulation.inside import Edit, gate
from tests.simulation.simulation import Found, Theatre, Weather, run


class Run:
    """Seeds, one after another, on the database of this thread's connection, whose gate may be edited."""

    def __init__(self, *edits: Edit, weather: Weather = Weather()) -> None:  # noqa: B008 - a value
        self.seeds = self.violations = self.steps = 0
        self.faults: Counter[str] = Counter()
        self.points: Counter[str] = Counter()
        self.doubts: Counter[str] = Counter()
        self._theatre, self._weather = Theatre(), weather
        self._began = time.perf_counter()
        self._stack = ExitStack()
        self._stack.callback(self._theatre.close)
        self._stack.enter_context(gate(*edits))
        self._stack.enter_context(simulated_clock())

    def seed(self, seed: int) -> Found:
        from tests.engine.conftest import empty_tables

        empty_tables()
        found = run(seed, self._theatre, self._weather)
        self.seeds += 1
        self.steps += found.steps
        self.violations += len(found.violations)
        self.faults += found.faults
        self.points += found.points
        self.doubts += found.doubts
        return found

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def line(self) -> str:
        seconds = time.perf_counter() - self._began
        missed = [point for point in CrashPoint if not self.points[point]]
        return (
            f"{self.seeds} seeds in {seconds:.0f} s, {self.steps} steps; "
            f"faults: {_told(self.faults)}; crash points never hit: {', '.join(missed) or 'none'}; "
            f"violations: {self.violations}; in doubt: {_told(self.doubts)}"
        )


@contextmanager
def test_database() -> Iterator[None]:
    made = setup_databases(verbosity=0, interactive=False)
    try:
        yield
    finally:
        connection.close()
        teardown_databases(made, verbosity=0)


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"
