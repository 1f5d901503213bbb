"""Workers are frozen, told to end, started again, and lose a child of their pool."""

import os
import signal
import time

import psutil
import pytest

from runtime.models import Job, Step, Worker
from runtime.stack.programs import Program
from runtime.states import EntryState, JobStatus
from tests.faults.proxy import Proxy
from tests.processes import LONG, load
from tests.processes.client import RECOVERY, Client
from tests.processes.witness import Witness

LEASE = 5.0
EVIDENCE = {"tool_returned", "step_resumed"}
"""What a worker may still record of an attempt that was taken from it: how its call ended, which may end a doubt."""


def test_nothing_is_accepted_of_a_worker_that_was_frozen_past_its_lease(
    client: Client, witness: Witness
) -> None:
    jobs = _calls_in_one_worker(
        client, witness, ["pay-second", "notify-second", "notify-inside", "pay-inside"]
    )
    slow = client.submit("long", seconds=6)
    frozen = client.worker_of(client.until_running(slow, "work"))
    client.child("worker-1").pause()
    frozen_at = time.time()
    client.child("worker-2").resume()
    assert client.recovery(slow, "work", frozen_at, of="frozen worker") <= RECOVERY
    frozen.refresh_from_db()
    silence = client.claimed_at(slow, "work", 2) - frozen.heartbeat_at
    assert silence.total_seconds() >= LEASE, "it might have gone on, so its whole lease was waited for"
    for job in jobs:
        client.until_running(job, "call", attempt=2)
    paid, told, told_inside, paid_inside = jobs
    client.until_finished(paid, paid_inside)
    for job in (told, told_inside):
        client.until(job.ledger.in_doubt().exists, "the call of a frozen worker to be in doubt")

    client.child("worker-1").resume()
    # It knows the answers that arrived while it stood still, and that is evidence: nobody need be asked.
    # The slow step it believes to be done is running elsewhere, and only that run counts.
    client.until_finished(told, told_inside, slow)

    for job in (*jobs, slow):
        assert job.status == JobStatus.COMPLETED
        assert _accepted_of_the_first_attempt(job) <= EVIDENCE
        assert job.events.filter(type="step_completed").count() == job.steps.count()
    for job in jobs:
        assert witness.effects(job) == 1
        assert job.ledger.get().state == EntryState.COMMITTED
    assert [witness.requests(job) for job in jobs] == [2, 1, 1, 2]


def test_a_worker_that_is_told_to_end_finishes_its_steps(client: Client) -> None:
    jobs = load.begin(client, jobs=30)
    worker = client.child("worker-1")
    before = Worker.objects.get(name="worker-1", pid=worker.pid)
    client.until(lambda: _running(before) > 0, "worker-1 to run steps")
    worker.restart()
    client.until_finished(*jobs)
    load.assert_untouched(client, jobs)
    before.refresh_from_db()
    assert before.stopped_at, "it has said goodbye"


@pytest.mark.skipif(not LONG, reason="takes the whole grace time; runs with AETHERIS_LONG=1")
def test_a_step_that_outlasts_the_grace_time_is_handed_back(client: Client) -> None:
    job = client.submit("long", seconds=300)
    client.child_of(client.until_running(job, "work")).restart()
    client.until_running(job, "work", attempt=2)
    assert client.events([job], *load.INTERVENTIONS) == ["step_retried work 1"]
    assert job.steps.get().failures == 0, "nobody's fault"


@pytest.mark.skipif(not LONG, reason="takes the whole grace time; runs with AETHERIS_LONG=1")
@pytest.mark.parametrize("how", ["refuse", "freeze"])
def test_who_is_told_to_end_does_though_neither_postgresql_nor_redis_answers(
    client: Client, before_postgres: Proxy, before_valkey: Proxy, how: str
) -> None:
    client.wait_whole("heavy-1")
    for agent in ("long", "heavy"):
        client.until_running(client.submit(agent, seconds=300), "work")
    getattr(before_postgres, how)()
    getattr(before_valkey, how)()
    told = [client.child(name) for name in ("worker-1", "worker-2", "heavy-1", "sweeper-1")]
    pids = {child.name: child.pid for child in told}
    for child in told:
        child.signal(signal.SIGTERM)
    took = client.until(lambda: not any(psutil.pid_exists(pid) for pid in pids.values()), "all to end")
    assert took < Program.grace


def test_steps_of_a_killed_worker_are_rescued_though_one_of_its_name_lives(client: Client) -> None:
    client.child("worker-2").stop()
    try:
        job = client.submit("long", seconds=5)
        first = client.until_running(job, "work")
        client.child("worker-1").restart(signal.SIGKILL)
        client.until_finished(job)
    finally:
        client.child("worker-2").start()
    assert job.status == JobStatus.COMPLETED
    assert client.events([job], "step_rescued") == ["step_rescued work 1"]
    before, after = client.worker_of(first), client.worker_of(job.steps.get())
    assert (before.name, after.name) == ("worker-1", "worker-1")
    assert before.pk != after.pk


def test_a_killed_child_of_the_pool_is_replaced_and_its_step_rescued(client: Client) -> None:
    client.wait_whole("heavy-1")
    parent = client.child("heavy-1").pid
    job = client.submit("heavy", seconds=300)
    child = client.worker_of(client.until_running(job, "work"))
    assert psutil.Process(child.pid).ppid() == parent
    killed_at = time.time()
    os.kill(child.pid, signal.SIGKILL)

    assert client.recovery(job, "work", killed_at, of="killed child of a pool") <= RECOVERY
    assert client.child("heavy-1").pid == parent, "the pool lives on"
    assert client.worker_of(job.steps.get()).pid != child.pid


def test_a_step_that_hangs_past_its_deadline_is_tried_again(client: Client) -> None:
    job = client.submit("hanging", seconds=6)
    first = client.until_running(job, "hang")
    client.until_finished(job)
    assert (job.status, job.result) == (JobStatus.COMPLETED, 2)
    assert client.events([job], "step_timed_out") == ["step_timed_out hang 1"]

    log = client.child_of(first).log
    client.until(lambda: f"job={job.pk}" in _lines(log, "stale_attempt"), "the late result to be refused")


def _calls_in_one_worker(client: Client, witness: Witness, agents: list[str]) -> list[Job]:
    """Jobs that worker-1 has in a call each; the calls took effect, the answers are on their way."""
    client.child("worker-2").pause()
    jobs = []
    for agent in agents:
        order = client.new_order()
        witness.answer_late(order, 8)
        jobs.append(client.submit(agent, order=order))
    client.until(lambda: all(witness.effects(job) == 1 for job in jobs), "the witness to act")
    return jobs


def _accepted_of_the_first_attempt(job: Job) -> set[str]:
    """What the first worker recorded between the claim of the second and its own next claim."""
    first, second = job.events.filter(
        type="step_claimed", attempt__lte=2, step__in=("call", "work")
    ).order_by("seq")
    later = job.events.filter(seq__gt=second.seq, worker=first.worker).order_by("seq")
    types = list(later.values_list("type", flat=True))
    return set(types[: types.index("step_claimed")] if "step_claimed" in types else types)


def _running(worker: Worker) -> int:
    return Step.objects.filter(worker=worker, status="running").count()


def _lines(log: os.PathLike[str], word: str) -> str:
    with open(log, errors="replace") as lines:
        return "".join(line for line in lines if word in line)
