"""Chaos without one of its guards: a few jobs and faults by which it is missed soonest, and a verdict that says so."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from runtime.graph import Graph
from tests.chaos.faults import FROZEN_SECONDS, Kind
from tests.chaos.jobs import ORDER, Plan, waiting

if TYPE_CHECKING:
    from tests.chaos.ground import Ground
    from tests.chaos.judge import Verdict

GUARD_OFF = "GUARD_OFF"
"""Names the guard to the processes of the stack. Read by `tests.chaos.unguarded` alone."""
APP = "tests.chaos.unguarded"
DRAIN_SECONDS = 1.0
"""The grace time of who is told to end: shorter than a step here."""
WORK_SECONDS = 4.0
"""Of a step: long enough for whatever befalls its worker, and after a rescue until a frozen one is back."""
PATIENCE = 30.0
FAULTS = 3


def slow() -> Graph:
    """Steps side by side, each of which makes its call and then works for a while."""
    graph = Graph()
    for number in range(3):
        graph.function(
            f"one{number}", "call_then_work", tool="witness.notify", order=ORDER, seconds=WORK_SECONDS,
            retry={"max_attempts": 9},
        )  # fmt: skip
    return graph


def crowd() -> Graph:
    """Steps that end at the same time, in both workers."""
    graph = Graph()
    last = graph.function("last", "pass_on")
    for number in range(24):
        graph.function(f"one{number}", "pass_on") >> last
    return graph


@dataclass(frozen=True)
class Trial:
    shape: Callable[[], Graph]
    kind: Kind | None = None
    gap: tuple[float, float] = (2.0, 3.0)
    """Seconds from one fault to the next."""
    jobs: int = 12


TRIALS = {
    "job lock": Trial(crowd, jobs=40),
    "inbox": Trial(waiting),
    # One at a time, so that the other takes over.
    "fence": Trial(slow, Kind.FREEZE_WORKER, gap=(FROZEN_SECONDS + 1, FROZEN_SECONDS + 2)),
    "ledger": Trial(slow, Kind.KILL_WORKER),
    "sweep": Trial(slow, Kind.KILL_WORKER),
    "drain": Trial(slow, Kind.TERMINATE_WORKER),
}
"""By guard; first those without faults, since on one ground every fault excuses what came before it."""


def run(ground: Ground, history: Path, name: str, *, seed: int, is_off: bool) -> Verdict:
    """What becomes of the trial of a guard, on a ground whose processes do without it, if `is_off`."""
    from tests.chaos.run import (
        Chaos,  # needs Django, and the processes of the stack read this file before it is ready
    )
    from tests.guards import BY_NAME, edited

    trial = TRIALS[name]
    chaos = Chaos(ground, history, seed=seed, jobs=trial.jobs, faults=FAULTS if trial.kind else 0)
    chaos.name = f"without the {name}" if is_off else f"with the {name}"
    chaos.kinds = cycle([trial.kind] if trial.kind else [])
    chaos.plans = _plans(trial.shape, seed)
    chaos.patience, chaos.gap = PATIENCE, trial.gap
    with edited(*BY_NAME[name].edits) if is_off else nullcontext():
        return chaos.run()


def _plans(shape: Callable[[], Graph], seed: int) -> Iterator[Plan]:
    chance = random.Random(f"jobs {seed}")
    while True:
        signals = chance.randint(1, 2) if shape is waiting else 0
        yield Plan(order=uuid4().hex, shape=shape.__name__, graph=shape(), signals=signals)
