"""What keeps the promises, and how each of it is switched off, one at a time, to see that the simulation notices.

Only here, and only in a database of tests: SQL is edited on its way there, Python is patched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from runtime import recovery
from runtime.incarnation import Incarnation
from runtime.invocations import Invocation
from tests.simulation.inside import Edit, replacing
from tests.simulation.scheduler import Fault
from tests.simulation.simulation import Weather


@dataclass(frozen=True)
class Guard:
    name: str
    off: str
    """What happens without it."""
    weather: Weather
    """In which it is missed soonest."""
    edits: tuple[Edit, ...] = ()
    patch: Callable[[pytest.MonkeyPatch], Any] = lambda patch: None


def _send_again(invocation: Invocation, recorded: dict[str, Any]) -> Any:
    return invocation._send()


GUARDS = (
    Guard(
        "fence",
        "any attempt of a running step may decide",
        Weather(0.05, (Fault.FREEZE, Fault.HANG), ("chain", "diamond")),
        (
            replacing("AND (op ->> 'attempt' IS NULL OR s.attempt = (op ->> 'attempt')::int)", ""),
            replacing("AND s.attempt = (op ->> 'attempt')::int;", ";"),
            replacing("AND s.attempt = (op ->> 'new_attempt')::int;", ";"),
        ),
    ),
    Guard(
        "ledger",
        "what is recorded of a call does not keep it from being made again",
        Weather(0.05, (Fault.KILL,), ("chain", "undone")),
        patch=lambda patch: patch.setattr(Invocation, "_resume", _send_again),
    ),
    Guard(
        "job lock",
        "two turns of one job may be under way at once",
        Weather(0.2, (Fault.INSIDE,), ("diamond", "for_each")),
        (replacing("WHERE id = v_job FOR NO KEY UPDATE;", "WHERE id = v_job;"),),
    ),
    Guard(
        "inbox",
        "a step that begins to wait does not look at what has come before",
        Weather(0.0, shapes=("signalled",)),
        (replacing("        bind := bind OR NOT v_stopping;\n", ""),),
    ),
    Guard(
        "sweep",
        "nobody restores what was lost",
        Weather(0.05, (Fault.KILL,), ("alone",)),
        patch=lambda patch: patch.setattr(recovery.Sweeper, "sweep", lambda sweeper: recovery.Swept()),
    ),
    Guard(
        "drain",
        "a process that ends hands nothing back",
        Weather(0.1, (Fault.HANG, Fault.DRAIN), ("alone", "undone")),
        patch=lambda patch: patch.setattr(Incarnation, "hand_back", lambda worker, why: None),
    ),
)
