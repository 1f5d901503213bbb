"""Redis is nothing: it gives trouble from the first job to the last, and nobody notices but the clock."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.faults import Kind
from tests.chaos.ground import Ground
from tests.chaos.jobs import plans
from tests.chaos.run import Chaos


@dataclass(frozen=True)
class Weather:
    """What happens, and again after so many seconds."""

    kind: Kind | None = None
    every: float = math.inf


STORMS = {
    "calm": Weather(),
    "flushed": Weather(Kind.FLUSH, every=1),
    "killed": Weather(Kind.REDIS_KILL, every=5),
    "off": Weather(Kind.REDIS_OFF),
    "read-only": Weather(Kind.REDIS_READ_ONLY),
    "half-open": Weather(Kind.REDIS_HALF_OPEN, every=8),
}


class Storm(Chaos):
    """Calls are answered, processes are left alone: without any fault of those, nothing may come to be in doubt."""

    def __init__(self, ground: Ground, history: Path, name: str, *, seed: int, jobs: int) -> None:
        super().__init__(ground, history, seed=seed, jobs=jobs)
        self.name = name
        self._weather = STORMS[name]
        self.plans = plans(seed, with_faults=False)
        self._next = time.monotonic()

    def _live_through_it(self) -> int:
        self._wait(0)
        self._submit_until(self.jobs)
        return self._settle()

    def _wait(self, seconds: float) -> None:
        if self._weather.kind and time.monotonic() >= self._next:
            self.breaker.strike(self._weather.kind)
            self._next = time.monotonic() + self._weather.every
        super()._wait(seconds)
