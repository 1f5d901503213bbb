"""What the processes of a stack take up, looked at every now and then, and whether it grows."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from statistics import median

import psutil
from django.db import connection

from runtime.stack.supervisor import Supervisor

PAUSE = 2.0
MIB = 1024 * 1024
MAY_GROW = {"MiB": 24.0, "descriptors": 8.0, "connections": 6.0}
"""From the second quarter of a run, when everything is warm, to its last."""
FEWEST = 150
"""Samples that say something of growth: threads open what they need when they first need it, in the first minutes."""


@dataclass
class Course:
    """One figure of one process over the time of a run."""

    values: list[float] = field(default_factory=list)

    @property
    def growth(self) -> float:
        quarter = len(self.values) // 4
        warm, last = self.values[quarter : 2 * quarter], self.values[-quarter:]
        return median(last) - median(warm) if len(self.values) >= FEWEST else 0.0


class Sampler:
    """Looks in a thread of its own, between `start` and `end`."""

    def __init__(self, stack: Supervisor) -> None:
        self.courses: dict[tuple[str, str], Course] = {}
        self._stack = stack
        self._failed: list[str] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._end.set()
        self._thread.join()

    def growths(self) -> list[str]:
        """What has grown by more than it may, or that nobody looked."""
        return self._failed + [
            f"{process} took {course.growth:.0f} {unit} more at the end than when it was warm"
            for (process, unit), course in self.courses.items()
            if course.growth > MAY_GROW[unit]
        ]

    def told(self) -> str:
        """What the processes took at most, and how much of it came late."""
        return ", ".join(
            f"{process} {max(course.values):.0f} {unit} ({course.growth:+.0f})"
            for (process, unit), course in sorted(self.courses.items())
        )

    def _run(self) -> None:
        try:
            while not self._end.wait(PAUSE):
                self._look()
        except Exception as error:  # whatever it was, the run must not pass for one that was looked at
            self._failed.append(f"the sampler ended: {error!r}")
        finally:
            connection.close()

    def _look(self) -> None:
        for program in self._stack.programs:
            if not program.alive:
                continue
            leader = psutil.Process(program.pid)
            processes = [leader, *leader.children(recursive=True)]
            self._note(program.name, "MiB", sum(each.memory_info().rss for each in processes) / MIB)
            self._note(program.name, "descriptors", sum(each.num_fds() for each in processes))
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
            self._note("postgres", "connections", cursor.fetchone()[0])

    def _note(self, process: str, unit: str, value: float) -> None:
        self.courses.setdefault((process, unit), Course()).values.append(value)
