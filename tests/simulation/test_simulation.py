"""Random schedules of the real code on the real database. `make simulate` runs more of them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from runtime.ports import CrashPoint
from tests.simulation.running import Run

KEPT = [
    int(line.split()[0])
    for line in (Path(__file__).parent / "kept_seeds").read_text().splitlines()
    if not line.startswith("#")
]
FIRST = int(os.environ.get("AETHERIS_SEED", "10000"))
SEEDS = int(os.environ.get("AETHERIS_SEEDS", "200"))
SECONDS = 150.0
"""After which no more seeds are begun."""

pytestmark = pytest.mark.timeout(600)


def test_a_seed_is_a_schedule(run: Run) -> None:
    first, other, again = run.seed(7), run.seed(8), run.seed(7)
    assert first.trace == again.trace
    assert first.digest == again.digest != other.digest


@pytest.mark.parametrize("seed", KEPT)
def test_a_kept_seed_breaks_nothing(seed: int, run: Run) -> None:
    assert run.seed(seed).violations == []


def test_many_seeds_break_nothing_and_come_by_every_crash_point(run: Run, capsys: Any) -> None:
    """The same each time: others are for `make simulate`, which finds something new without breaking a build for it."""
    end = time.monotonic() + SECONDS
    broken = {}
    for seed in range(FIRST, FIRST + SEEDS):
        if violations := run.seed(seed).violations:
            broken[seed] = violations
        if time.monotonic() > end:
            break
    with capsys.disabled():
        print(f"\nsimulation: {run.line()}")
    assert not broken, f"replay with: make simulate ARGS='--seeds 1 --from {min(broken)} --trace'"
    assert [point for point in CrashPoint if not run.points[point]] == []
