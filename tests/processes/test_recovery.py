"""How long a step waits when its worker is killed, and what if the sweeper is killed too."""

from datetime import timedelta

import pytest

from runtime.clock import DatabaseNow
from runtime.models import Step, Worker
from runtime.ports import CrashPoint
from runtime.states import JobStatus
from tests.processes import LONG
from tests.processes.client import QUICK_RECOVERY, Client
from tests.processes.kills import recoveries
from tests.processes.witness import Flags

KILLS = 20 if LONG else 3


def test_the_next_attempt_starts_within_four_seconds_of_a_kill(client: Client) -> None:
    assert all(took <= QUICK_RECOVERY for took in recoveries(client, KILLS))


@pytest.mark.skipif(not LONG, reason="the sweep finds again what it found; runs with AETHERIS_LONG=1")
def test_what_a_sweeper_left_when_it_died_the_next_one_finds(client: Client, flags: Flags) -> None:
    job = client.submit("long", seconds=5)
    step = client.until_running(job, "work")
    client.child_of(step).kill()
    client.until(lambda: _silence(step) > timedelta(seconds=1.6), "the worker to be missed, nearly")
    flags.raise_at(CrashPoint.IN_SWEEP)
    client.until(lambda: not flags.is_raised(CrashPoint.IN_SWEEP), "the sweeper to die")

    client.until_finished(job)
    assert job.status == JobStatus.COMPLETED
    assert client.events([job], "step_rescued") == ["step_rescued work 1"]


def _silence(step: Step) -> timedelta:
    """How long the step's worker has not been heard of."""
    heard_at, now = Worker.objects.filter(steps=step.pk).values_list("heartbeat_at", DatabaseNow()).get()
    silence: timedelta = now - heard_at
    return silence
