"""Seeds, one after another in one process or in several at once, and the one line that they come to."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING

import django
from django.db import connection

from runtime.ports import CrashPoint

if TYPE_CHECKING:
    from tests.guards import Edit
    from tests.simulation.simulation import Found, Weather


@dataclass
class Tally:
    """What many seeds came to."""

    seeds: int = 0
    steps: int = 0
    violations: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)
    _began: float = field(default_factory=time.perf_counter)

    def add(self, found: Found) -> None:
        self.seeds += 1
        self.steps += found.steps
        self.violations += len(found.violations)
        self.faults += found.faults
        self.points += found.points
        self.doubts += found.doubts

    @property
    def never_hit(self) -> list[CrashPoint]:
        return [point for point in CrashPoint if not self.points[point]]

    def line(self) -> str:
        seconds = time.perf_counter() - self._began
        return (
            f"{self.seeds} seeds in {seconds:.0f} s, {self.steps} steps; "
            f"faults: {_told(self.faults)}; crash points never hit: {', '.join(self.never_hit) or 'none'}; "
            f"violations: {self.violations}; in doubt: {_told(self.doubts)}"
        )


class Run:
    """Seeds, one after another, on the database of this thread's connection, whose gate may be edited."""

    def __init__(self, *edits: Edit, weather: Weather | None = None) -> None:
        from tests.simulation.boundaries import simulated_clock
        from tests.simulation.inside import gate
        from tests.simulation.simulation import Theatre, Weather

        self._theatre, self._weather = Theatre(), weather or Weather()
        self._stack = ExitStack()
        self._stack.callback(self._theatre.close)
        self._stack.enter_context(gate(*edits))
        self._stack.enter_context(simulated_clock())

    def seed(self, seed: int) -> Found:
        from tests.engine.conftest import empty_tables
        from tests.simulation.simulation import run

        empty_tables()
        _count_anew()
        return run(seed, self._theatre, self._weather)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()


def _count_anew() -> None:
    """Ids are part of a schedule: of sets that hold them, the order."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval(c.oid, 1, false) FROM pg_class c WHERE c.relkind = 'S'")


@contextmanager
def many(seeds: Iterable[int], processes: int, seconds: float) -> Iterator[Iterator[Found]]:
    """What seeds come to that run in so many processes, each with a database of its own, in the order of their ends.

    After `seconds` no more are begun.
    """
    fresh = multiprocessing.get_context("spawn")  # a fork would share connections
    os.environ["PYTHONHASHSEED"] = "0"  # the order of sets is part of a schedule
    with ProcessPoolExecutor(processes, fresh, initializer=_begin) as pool:
        yield _each(pool, seeds, 2 * processes, time.monotonic() + seconds)


def _each(pool: ProcessPoolExecutor, seeds: Iterable[int], ahead: int, end: float) -> Iterator[Found]:
    left = iter(seeds)
    under_way = {pool.submit(_seed, seed) for seed in islice(left, ahead)}
    while under_way:
        done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
        for each in done:
            yield each.result()
        if time.monotonic() < end:
            under_way |= {pool.submit(_seed, seed) for seed in islice(left, len(done))}


# In each of the processes

_run: Run


def _begin() -> None:
    """A database and its run, until the process ends."""
    global _run
    django.setup()
    stack = ExitStack()
    stack.enter_context(own_database(f"simulation_{multiprocessing.current_process().name}"))
    _run = stack.enter_context(Run())
    logging.disable(logging.CRITICAL)  # what goes wrong in a simulation is meant to
    Finalize(None, stack.close, exitpriority=1)
    gc.freeze()  # what is here already is looked through no more


def _seed(seed: int) -> Found:
    return _run.seed(seed)


@contextmanager
def own_database(name: str) -> Iterator[None]:
    from django.test.utils import setup_databases, teardown_databases

    connection.settings_dict["TEST"]["NAME"] = name
    made = setup_databases(verbosity=0, interactive=False)
    try:
        yield
    finally:
        connection.close()
        teardown_databases(made, verbosity=0)


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"
