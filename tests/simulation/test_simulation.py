"""Random schedules of the real code on the real database. `make simulate` runs more of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.running import Run, Tally, many

KEPT = [
    int(line.split()[0])
    for line in (Path(__file__).parent / "kept_seeds").read_text().splitlines()
    if not line.startswith("#")
]
FIRST = int(os.environ.get("AETHERIS_SEED", "10000"))
SEEDS = int(os.environ.get("AETHERIS_SEEDS", "1000"))
SECONDS = 200.0
"""After which no more seeds are begun."""


def test_a_seed_is_a_schedule_whatever_ran_before_it(run: Run) -> None:
    first, other, again = run.seed(7), run.seed(8), run.seed(7)
    assert first.trace == again.trace
    assert first.digest == again.digest != other.digest


@pytest.mark.parametrize("seed", KEPT)
def test_a_kept_seed_breaks_nothing(seed: int, run: Run) -> None:
    assert run.seed(seed).violations == []


def test_many_seeds_break_nothing_and_come_by_every_crash_point(servers: None, capsys: Any) -> None:
    """The same each time: others are for `make simulate`, which finds something new without breaking a build for it."""
    tally, broken = Tally(), {}
    with many(range(FIRST, FIRST + SEEDS), os.cpu_count() or 1, SECONDS) as each:
        for found in each:
            tally.add(found)
            if found.violations:
                broken[found.seed] = found.violations
    with capsys.disabled():
        print(f"\nsimulation: {tally.line()}")
    assert not broken, f"replay with: make simulate ARGS='--seeds 1 --from {min(broken)} --trace'"
    assert tally.never_hit == []


def test_a_seed_is_the_same_in_another_process(servers: None) -> None:
    with many([FIRST + 9, FIRST + 10] * 4, 2, SECONDS) as each:
        digests = {(found.seed, found.digest) for found in each}
    assert len(digests) == 2
