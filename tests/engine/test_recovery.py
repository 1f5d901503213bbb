"""The sweep: what was lost moves again, what lives is left alone, and Redis may lose everything."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import current_app
from django.db import connection, transaction

from runtime import dispatch, leases, recovery, tasks
from runtime.execution import run_step
from runtime.graph import Graph
from runtime.incarnation import Incarnation
from runtime.models import Job, Step, Worker
from runtime.ports import CrashPoint
from runtime.recovery import Sweeper
from tests.engine.driving import (
    StillWorker,
    claim,
    crash_at,
    doing,
    run_once,
    statuses,
    step_of,
    submit,
    told,
)
from tests.engine.driving import (
    drive as drive_with,
)


@pytest.fixture
def running(worker) -> Iterator[Step]:
    """A step in the hands of a worker that lives: its row lists it, its lease is set."""
    step = claim(Job.objects.submit("echo"), worker, "echo")
    with worker.holding(step):
        worker.beat()
        yield step


@pytest.fixture
def sweeper(worker, settings) -> Iterator[Sweeper]:
    settings.AETHERIS = {**settings.AETHERIS, "SWEEPER_THREADS": 1}
    sweeper = Sweeper(worker)
    yield sweeper
    finish(sweeper)


def finish(sweeper: Sweeper) -> None:
    """Wait for what the sweeper runs itself."""
    if sweeper._pool is not None:
        sweeper._pool.submit(lambda: connection.close())
        sweeper._pool.shutdown()
        sweeper._pool = None


def no_lease() -> None:
    for key in leases.client().scan_iter("aetheris:lease:*"):
        leases.client().delete(key)


# Rescue


@pytest.mark.pg_slice
def test_a_step_of_a_silent_worker_is_rescued_and_run_again(worker, other, clock):
    job = submit(doing(lambda context: context.step.attempt))
    with crash_at(CrashPoint.BEFORE_RECORD):
        run_once(job, worker)
    clock.forward(seconds=6)
    assert recovery.rescue_lost() == 1
    assert recovery.rescue_lost() == 0
    assert (drive_with(job, other).result, step_of(job).failures) == (2, 1)
    assert told(job, step="it") == ["step_claimed", "step_rescued", "step_claimed", "step_completed"]


def test_a_silent_worker_keeps_its_step_while_its_lease_lives(running, clock):
    clock.forward(minutes=1)
    assert recovery.rescue_lost() == 0
    no_lease()
    assert recovery.rescue_lost() == 1


def test_a_living_worker_keeps_its_step_without_a_lease(running, worker, clock):
    no_lease()
    clock.forward(minutes=1)
    worker.beat()
    no_lease()
    assert recovery.rescue_lost() == 0
    running.complete()


@pytest.mark.pg_slice
def test_a_claim_that_its_living_worker_does_not_know_of_is_rescued_after_a_lease_time(worker, clock):
    job = Job.objects.submit("echo")
    claim(job, worker, "echo")
    clock.forward(seconds=2)
    worker.beat()
    assert recovery.rescue_lost() == 0
    clock.forward(seconds=4)
    worker.beat()
    assert recovery.rescue_lost() == 1
    drive_with(job, worker)


def test_a_worker_that_lists_a_lower_attempt_does_not_know_of_the_claim(worker, clock):
    job = Job.objects.submit("echo")
    old = claim(job, worker, "echo")
    with worker.holding(old):
        old.retry({"type": "E", "message": "x"})
        claim(job, worker, "echo")
        clock.forward(seconds=6)
        worker.beat()
        no_lease()
        assert recovery.rescue_lost() == 1
    drive_with(job, worker)


@pytest.mark.pg_slice
def test_flushall_rescues_nobody_and_the_next_heartbeat_sets_the_leases_again(running, worker, clock):
    assert leases.count() == 1
    leases.client().flushall()
    assert (leases.count(), recovery.rescue_lost()) == (0, 0)
    clock.forward(seconds=60)
    worker.beat()
    assert (leases.count(), recovery.rescue_lost()) == (1, 0)
    running.complete()


def test_flushall_cancels_nobody(worker):
    def function(context: Any) -> str:
        leases.client().flushall()
        worker.beat()
        return "cancelled" if context.cancelled else "went on"

    assert drive_with(submit(doing(function)), worker).result == "went on"


def test_while_redis_cannot_be_asked_a_silent_worker_is_enough(running, clock):
    clock.forward(minutes=1)
    leases.breaker.trip()
    assert recovery.rescue_lost() == 1


def test_a_restarted_worker_of_the_same_name_does_not_keep_the_old_ones_steps(worker, clock):
    job = Job.objects.submit("echo")
    claim(job, worker, "echo")
    reborn = StillWorker(name=worker.name)
    clock.forward(seconds=6)
    reborn.start()
    assert recovery.rescue_lost() == 1
    assert drive_with(job, reborn).status == "completed"
    reborn.stop()


def test_a_worker_that_stops_in_order_hands_its_steps_back_without_a_failure(outside):
    job = submit(doing(lambda context: 1))
    leaver = StillWorker(name="leaver")
    leaver.start()
    step = claim(job, leaver)
    with leaver.holding(step):
        leaver.stop()
    step.refresh_from_db()
    assert (step.status, step.failures) == ("ready", 0)
    assert Worker.objects.get(pk=leaver.id).stopped_at is not None
    job.cancel()


def test_a_step_of_a_stopped_worker_is_rescued_at_once(worker):
    job = Job.objects.submit("echo")
    claim(job, worker, "echo")
    worker.stop()
    assert recovery.rescue_lost() == 1
    job.cancel()


def test_a_rescued_steps_context_is_cancelled_by_the_next_heartbeat(worker, other, clock):
    seen = []

    def function(context: Any) -> None:
        if context.step.attempt == 2:
            return
        worker.beat()
        seen.append(context.cancelled)
        clock.forward(minutes=1)
        no_lease()
        assert recovery.rescue_lost() == 1
        worker.beat()
        seen.append(context.cancelled)
        seen.append(leases.count())

    job = submit(doing(function))
    run_once(job, worker)
    assert seen == [False, True, 0]
    assert drive_with(job, other).status == "completed"


def test_a_poisoned_row_does_not_stop_its_neighbours(worker, clock):
    """Its next event would fork the chain, which the database refuses."""
    bad, good = Job.objects.submit("echo"), Job.objects.submit("echo")
    for job in (bad, good):
        claim(job, worker, "echo")
    head = Job.objects.get(pk=bad.pk).head
    Job.objects.filter(pk=bad.pk).update(head=bytes(32))
    clock.forward(minutes=1)
    assert recovery.rescue_lost() == 1
    assert (statuses(bad)["echo"], statuses(good)["echo"]) == ("running", "ready")
    Job.objects.filter(pk=bad.pk).update(head=bytes(head))


def test_the_rows_of_workers_that_are_long_gone_are_forgotten_unless_they_hold_a_step(worker, other, clock):
    claim(Job.objects.submit("echo"), worker, "echo")
    clock.forward(days=2)
    recovery.forget_workers()
    assert list(Worker.objects.values_list("name", flat=True)) == ["first"]
    other.start()


def test_a_heartbeat_thread_keeps_the_row_fresh_by_itself(settings, outside):
    settings.AETHERIS = {**settings.AETHERIS, "HEARTBEAT_SECONDS": 0.02}
    worker = Incarnation(name="beating")
    worker.start()
    try:
        first = Worker.objects.get(pk=worker.id).heartbeat_at
        for _ in range(500):
            if Worker.objects.get(pk=worker.id).heartbeat_at > first:
                break
        else:
            raise AssertionError("no second heartbeat was seen")
    finally:
        worker.stop()


# The sweeper's own pauses


def test_after_a_gap_of_its_own_the_sweeper_waits_a_lease_time_before_it_rescues(
    sweeper, worker, other, clock, monkeypatch
):
    now = 1000.0
    monkeypatch.setattr(recovery, "time", SimpleNamespace(monotonic=lambda: now))
    job = Job.objects.submit("echo")
    claim(job, other, "echo")
    sweeper.sweep()
    now += 60  # PostgreSQL was away: nobody could write a heartbeat
    clock.forward(seconds=60)
    worker.beat()
    assert sweeper.sweep().rescued == 0
    for _ in range(4):
        now += 1
        assert sweeper.sweep().rescued == 0
    now += 2
    assert sweeper.sweep().rescued == 1
    drive_with(job, worker)


def test_a_sweeper_that_runs_without_gaps_rescues_at_once(sweeper, other, clock):
    job = Job.objects.submit("echo")
    claim(job, other, "echo")
    sweeper.sweep()
    clock.forward(seconds=6)
    assert sweeper.sweep().rescued == 1
    job.cancel()


def test_a_sweep_does_everything_that_is_due(sweeper, worker, clock):
    graph = Graph()
    graph.wait("go", signal="go", timeout="1m", on_timeout="continue")
    waiting = drive_with(submit(graph), worker)
    hanging, lost = submit(doing(lambda context: 1, timeout=30)), submit(doing(lambda context: 1))
    claim(hanging, worker)
    clock.forward(seconds=61)
    worker.beat()
    claim(lost, worker)
    clock.forward(seconds=6)
    worker.beat()
    with worker.holding(step_of(hanging)):
        worker.beat()
        swept = sweeper.sweep()
    assert (swept.rescued, swept.timed_out, swept.woken) == (1, 1, 1)
    for job in (waiting, hanging, lost):
        clock.forward(minutes=1)
        assert drive_with(job, worker).status == "completed"


# Hints


def depth(queue: str = "default") -> int:
    return leases.queue_depths([queue])[queue]


def forget_hints() -> None:
    leases.client().delete("aetheris:default")


def test_a_hint_leaves_when_a_step_becomes_ready_and_its_transaction_commits():
    forget_hints()
    with transaction.atomic():
        Job.objects.submit("echo")
        assert depth() == 0
    assert depth() == 1


@pytest.mark.pg_slice
def test_a_step_is_held_before_anybody_is_told_of_the_turn_that_claimed_it(worker, monkeypatch):
    """To tell may take longer than a lease, and a claim that its worker does not list is rescued after one."""
    graph = Graph()
    first = graph.function("first", "add", one=1)
    for name in ("left", "right"):
        first >> graph.function(name, "add", one=1)
    job = submit(graph)
    told = []
    monkeypatch.setattr("runtime.dispatch.hint", lambda steps: told.append((steps, worker.held_ids())))
    run_step(step_of(job, "first").pk, worker)
    left, right = step_of(job, "left"), step_of(job, "right")
    assert told == [([(right.pk, "default")], [left.pk])]


def test_a_broker_that_answers_slowly_is_told_of_as_much_as_there_is_time_for(settings, monkeypatch):
    now, sent = [time.monotonic() + 10], []

    def send_task(name, args, **how):
        sent.append(args[0])
        now[0] += 0.4

    monkeypatch.setattr(current_app, "send_task", send_task)
    monkeypatch.setattr(dispatch, "time", SimpleNamespace(monotonic=lambda: now[0]))
    settings.AETHERIS = {**settings.AETHERIS, "REDIS_TIMEOUT_SECONDS": 1.0}
    assert dispatch.hint([(step_id, "default") for step_id in range(50)])
    assert len(sent) == 3


def test_a_lost_hint_is_sent_again_after_growing_pauses(sweeper, clock):
    job = Job.objects.submit("echo")
    forget_hints()
    assert sweeper.sweep().hinted == 0
    for pause in (1, 2, 4, 8, 16):
        clock.forward(seconds=pause / 2)
        assert pause < 4 or sweeper.sweep().hinted == 0, pause  # shorter ones may be over by themselves
        clock.forward(seconds=pause / 2 + 0.1)
        assert sweeper.sweep().hinted == 1, pause
    assert depth() == 5
    job.cancel()


def test_a_retry_that_becomes_due_is_hinted_at_once(sweeper, worker, clock):
    def function(context: Any) -> int:
        if context.step.attempt == 1:
            raise ValueError("once")
        return 1

    job = submit(doing(function, retry={"backoff": 30, "jitter": False}))
    run_once(job, worker)
    forget_hints()
    clock.forward(seconds=15)
    assert sweeper.sweep().hinted == 0
    clock.forward(seconds=15.1)
    assert (sweeper.sweep().hinted, depth()) == (1, 1)
    drive_with(job, worker)


def test_a_full_queue_is_not_filled_further(sweeper, clock):
    Job.objects.submit("echo")
    forget_hints()
    leases.client().rpush("aetheris:default", *["{}"] * dispatch.FULL_QUEUE)
    clock.forward(seconds=5)
    assert sweeper.sweep().hinted == 0
    assert depth() == dispatch.FULL_QUEUE


def test_steps_for_a_full_queue_do_not_hide_those_of_another(sweeper, clock, monkeypatch):
    monkeypatch.setattr(recovery, "BATCH", 2)
    for queue in ("background", "background", "background", "default"):
        Job.objects.submit("echo", queue=queue)
    forget_hints()
    leases.client().rpush("aetheris:background", *["{}"] * dispatch.FULL_QUEUE)
    clock.forward(seconds=5)
    assert sweeper.sweep().hinted == 1
    assert depth() == 1


def test_steps_of_a_paused_job_are_not_hinted(sweeper, clock):
    job = Job.objects.submit("echo")
    job.pause()
    clock.forward(minutes=1)
    assert sweeper.sweep().hinted == 0
    job.resume()
    job.cancel()


def test_a_worker_with_half_of_its_threads_stuck_makes_room_for_a_fresh_one(other, settings, monkeypatch):
    settings.AETHERIS = {**settings.AETHERIS, "LEASE_SECONDS": 0.01}
    ended = []
    monkeypatch.setattr(os, "kill", lambda pid, number: ended.append(number))
    worker = StillWorker(threads=4)
    worker.start()
    steps = [claim(Job.objects.submit("echo"), worker, "echo") for _ in range(2)]
    with worker.holding(steps[0]), worker.holding(steps[1]):
        for number, step in enumerate(steps):
            step.rescue()
            worker.beat()  # learns that the step is not its own any more
            time.sleep(0.02)
            worker.beat()
            assert ended == [signal.SIGTERM] * number
    for step in steps:
        drive_with(step.job, other)
    worker.stop()


def test_a_step_that_cannot_be_run_does_not_keep_the_others_of_its_message(worker, monkeypatch):
    monkeypatch.setattr(tasks, "incarnation", lambda: worker)
    job = Job.objects.submit("echo", 5)
    tasks.run_steps([2**63, step_of(job, "echo").pk])
    job.refresh_from_db()
    assert job.result == 5


# While Redis is away


@pytest.mark.pg_slice
def test_while_redis_is_away_the_sweeper_runs_the_steps_itself(redis_away, sweeper, worker, clock):
    jobs = [Job.objects.submit(agent, 1) for agent in ("echo", "counting", "diamond")]
    clock.forward(seconds=2)
    for _ in range(30):
        if Step.objects.ready().count():
            clock.forward(seconds=2)
            assert sweeper.sweep().run_here > 0
            finish(sweeper)
    assert [Job.objects.get(pk=job.pk).status for job in jobs] == ["completed"] * 3


def test_while_no_hint_can_be_sent_the_sweeper_runs_the_steps_itself(sweeper, clock):
    job = Job.objects.submit("echo", 5)
    clock.forward(seconds=2)
    dispatch.breaker.trip()
    assert sweeper.sweep().run_here == 1
    finish(sweeper)
    job.refresh_from_db()
    assert job.result == 5


def test_a_sweeper_that_is_told_to_end_lets_its_step_finish(sweeper, clock):
    begun = threading.Event()

    def takes_its_time(context: Any) -> None:
        begun.set()
        time.sleep(0.3)

    job = submit(doing(takes_its_time))
    clock.forward(seconds=2)
    dispatch.breaker.trip()
    assert sweeper.sweep().run_here == 1
    assert begun.wait(60)
    sweeper.end()
    sweeper._pool = None
    job.refresh_from_db()
    assert job.status == "completed"
    assert "step_retried" not in told(job)


def test_a_job_is_accepted_and_run_while_redis_is_away(redis_away, worker):
    dispatch.breaker.trip()
    job = Job.objects.submit("charge", {"amount": 1})
    worker.beat()
    assert drive_with(job, worker).status == "completed"


def test_a_living_worker_keeps_its_step_while_redis_is_away(redis_away, worker, clock):
    job = Job.objects.submit("echo")
    step = claim(job, worker, "echo")
    with worker.holding(step):
        clock.forward(minutes=1)
        worker.beat()
        assert recovery.rescue_lost() == 0
        step.complete()


def test_an_outage_of_redis_costs_one_timeout_and_not_one_per_call(redis_away):
    leases.breaker.reset()
    before = leases.breaker.failures
    for _ in range(50):
        leases.missing([1, 2, 3])
    assert leases.breaker.failures == before + 1
