"""What is asked of every system. Only the standard library: this is read in every environment."""

import os
from dataclasses import dataclass
from pathlib import Path

WORKERS = 2
CONCURRENCY = 16
"""Jobs that one worker process may have under way."""

SLOW_SECONDS = 0.1
SIZES = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
"""Lengths and widths of jobs, for systems that want a plan before the job."""


@dataclass(frozen=True)
class Order:
    """One job.

    `chain`: `size` steps, one after another, each handing on its number. `tools`: the same with calls of a tool.
    `slow`: the same with a pause in each step. `fan`: `size` steps side by side and one that joins them.
    `signal`: a step, a wait for a signal, a step (its size is two).
    """

    name: str
    shape: str
    size: int

    @property
    def steps(self) -> int:
        """How many lines the witness gets."""
        return self.size + 1 if self.shape == "fan" else self.size


def variable(name: str) -> str:
    """What the harness tells a process: DATABASE_URL, REDIS_URL, WITNESS, READY, HOME, PORT, ADMIN_PORT."""
    return os.environ[f"BENCH_{name}"]  # aetheris: allow[environment] the same for every process of a run


def home() -> Path:
    """Where this system may keep files of its own during a run."""
    return Path(variable("HOME"))
