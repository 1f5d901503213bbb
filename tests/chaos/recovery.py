"""How long steps wait when their workers are killed: many kills, one after another, with default settings."""

from __future__ import annotations

from statistics import median

from tests.chaos.ground import Ground
from tests.processes.client import RECOVERY, Client
from tests.processes.kills import recoveries


def measure(ground: Ground, kills: int) -> bool:
    """Print what was found, in one line. Whether nearly all of them were in time."""
    client = Client(ground.stack, ground.witness, {})
    took = sorted(recoveries(client, kills))
    client.settle()
    p99 = took[min(int(len(took) * 0.99), len(took) - 1)]
    figures = f"median {median(took):.1f} s, p99 {p99:.1f} s, worst {took[-1]:.1f} s"
    print(f"recovery: {len(took)} kills; {figures}; p99 at most {RECOVERY:g} s is asked", flush=True)
    return p99 <= RECOVERY
