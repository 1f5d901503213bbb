"""Valkey loses everything, restarts and goes away in the middle of fifty jobs. That costs time and nothing else."""

import signal
import time
from datetime import timedelta

import pytest

from runtime import planning
from runtime.conf import settings
from runtime.graph import Graph
from runtime.models import Job, Worker
from runtime.stack.valkey import Valkey
from runtime.states import JobStatus
from tests.faults.proxy import Proxy
from tests.processes import LONG, load
from tests.processes.client import Client

OFF_SECONDS = 60.0 if LONG else 20.0
FROZEN_SECONDS = 8.0
"""Longer than a lease, and than every timeout."""
WIDE = 30
"""Steps that become ready together: so many messages."""


def test_flushed_in_the_middle(client: Client) -> None:
    jobs = load.begin(client)
    valkey = client.child("valkey")
    assert isinstance(valkey, Valkey)
    for share in (0.3, 0.5, 0.7):
        load.until_done(client, jobs, share)
        valkey.flush()
    client.until_finished(*jobs)
    load.assert_untouched(client, jobs)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM] if LONG else [signal.SIGKILL])
def test_restarted_in_the_middle(client: Client, how: signal.Signals) -> None:
    jobs = load.begin(client)
    client.child("valkey").restart(how)
    client.until_finished(*jobs)
    load.assert_untouched(client, jobs)


def test_slow_all_the_time(client: Client, before_valkey: Proxy) -> None:
    before_valkey.slow(0.05)
    jobs = load.begin(client, jobs=20)
    client.until_finished(*jobs)
    load.assert_untouched(client, jobs)


def test_so_slow_that_to_tell_of_all_that_is_ready_would_take_longer_than_a_lease(
    client: Client, before_valkey: Proxy
) -> None:
    graph = Graph()
    first = graph.tool("first", "witness.pay", order="${input.order}")
    for number in range(WIDE):
        first >> graph.tool(f"one{number}", "witness.pay", order="${input.order}")
    before_valkey.slow(0.2)  # in each direction
    job = planning.submit(None, {"order": client.new_order()}, graph=graph.build())
    client.jobs.append(job)
    client.until_finished(job)
    assert job.status == JobStatus.COMPLETED
    assert not (found := client.events([job], *load.INTERVENTIONS)), f"somebody intervened: {found}"
    assert client.witness.effects(job) == client.witness.requests(job) == WIDE + 1
    called = dict(job.events.filter(type="tool_called").values_list("step", "at"))
    held_up = [at - client.claimed_at(job, str(step), 1) for step, at in called.items()]
    assert max(held_up) < timedelta(seconds=settings().lease_seconds)


def test_frozen_in_the_middle(client: Client) -> None:
    jobs = load.begin(client)
    client.child("valkey").pause()
    began = time.monotonic()
    late = client.submit("long", seconds=0.1)
    assert time.monotonic() - began < FROZEN_SECONDS, (
        "whoever submits does not wait for a broker that is silent"
    )
    client.until(lambda: time.monotonic() > began + FROZEN_SECONDS, "the end of the frost")
    client.child("valkey").resume()
    client.until_finished(late, *jobs)
    load.assert_untouched(client, jobs)


def test_a_worker_that_lost_the_broker_while_it_held_a_hint_hears_the_next_one(
    client: Client, before_valkey: Proxy
) -> None:
    """A pool of one: a message that kept its place would be the last one that it took."""
    client.wait_whole("heavy-1")
    first = client.submit("heavy", seconds=1.0)
    client.until(lambda: first.steps.filter(status="running").exists(), "the worker to have the hint")
    before_valkey.refuse()
    client.until_finished(first)
    before_valkey.mend()

    def is_heard() -> bool:
        job = client.submit("heavy", seconds=0.1)
        client.until_finished(job)
        return _roles(client, [job]) == {"worker"}

    client.until(is_heard, "the worker to take the place of the sweeper again", 180)


def test_away_in_the_middle(client: Client) -> None:
    jobs = load.begin(client, seconds=2.0)
    client.child("valkey").stop()
    back_at = time.monotonic() + OFF_SECONDS
    urgent = [client.submit("long", seconds=0.1, priority=9) for _ in range(5)]
    client.until_finished(*urgent)
    assert {job.status for job in urgent} == {JobStatus.COMPLETED}
    assert _roles(client, urgent) == {"sweeper"}, "without hints the sweeper runs what is ready"
    for job in urgent:
        waited = client.claimed_at(job, "work", 1) - job.created_at
        client.took("a new job without Valkey", waited.total_seconds())
    client.until(lambda: time.monotonic() > back_at, "the end of the outage", OFF_SECONDS + 1)

    client.child("valkey").start()
    client.until_finished(*jobs, patience=120)
    load.assert_untouched(client, jobs)


def _roles(client: Client, jobs: list[Job]) -> set[str]:
    return set(Worker.objects.filter(pk__in=client.ran(jobs)).values_list("role", flat=True))
