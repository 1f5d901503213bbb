"""A worker that has no more to do for a job goes on with the next one of its queues, without being told of it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection

from runtime import dispatch, holds, leases
from runtime.execution import run_step
from runtime.graph import Graph
from runtime.models import Job
from runtime.models.hold import HoldKind
from runtime.turn import Turn
from tests.agents_app.world import World
from tests.engine.driving import StillWorker, Threads, claim, doing, statuses, step_of, submit, told

pytestmark = pytest.mark.pg_slice


@pytest.fixture
def worker(outside: World) -> Iterator[StillWorker]:
    worker = StillWorker(name="first", others=("realtime", "default"))
    worker.start()
    yield worker
    worker.stop()


def job(queue: str | None = None, **keys) -> Job:
    graph = Graph()
    graph.function("a", "say", **keys) >> graph.function("b", "say", value="end", **keys)
    return submit(graph, queue=queue)


def ended(*jobs: Job) -> list[Job]:
    return [one for one in jobs if Job.objects.get(pk=one.pk).status == "completed"]


def test_the_jobs_of_its_queues_are_done_one_after_another_the_urgent_ones_first(worker):
    first, second, urgent, other = job(), job(), job("realtime"), job("background")
    assert run_step(step_of(first, "a").pk, worker) == 6
    assert ended(first, second, urgent, other) == [first, second, urgent]
    order = Job.objects.filter(pk__in=[first.pk, second.pk, urgent.pk]).order_by("finished_at")
    assert [one.pk for one in order] == [first.pk, urgent.pk, second.pk]
    assert told(second) == [
        *("job_submitted", "plan_recorded", "step_claimed", "step_completed"),
        *("step_claimed", "step_completed", "job_completed"),
    ]


def test_a_hint_in_vain_is_no_reason_to_do_nothing(worker):
    taken, ready = job(), job()
    claim(taken, worker, "a")
    assert run_step(step_of(taken, "a").pk, worker) == 2
    assert ended(ready)


def test_the_next_claim_costs_no_transaction_of_its_own(worker, monkeypatch):
    first, _ = submit(doing(lambda context: 1)), submit(doing(lambda context: 1))
    turns, real = [], Turn._call

    def call(turn: Turn) -> Any:
        turns.append(turn)
        return real(turn)

    monkeypatch.setattr(Turn, "_call", call)
    run_step(step_of(first).pk, worker)
    assert len(turns) == 3, "a claim, an end with a claim, an end"


@pytest.mark.parametrize("kind, name", [(HoldKind.AGENT, "graph"), (HoldKind.QUEUE, "default")])
def test_what_rests_is_left(kind, name, worker):
    resting = job()
    holds.begin(kind, name)
    assert run_step(step_of(resting, "a").pk, worker) == 0
    assert statuses(resting) == {"a": "ready", "b": "blocked"}


def test_what_is_paused_ends_needs_something_or_is_not_due_is_left(worker, clock):
    paused, ending, able, later = job(), job(), job(requires=["gpu"]), job()
    paused.pause()
    other = claim(ending, worker, "a")
    ending.cancel()
    claim(later, worker, "a").retry({"type": "Busy", "message": ""}, after=timedelta(seconds=60))
    assert run_step(other.pk, worker) == 0
    clock.forward(seconds=61)
    assert run_step(other.pk, worker) == 2
    assert ended(paused, ending, able, later) == [later]


def test_a_job_that_somebody_is_at_work_on_is_passed_over(pair: Threads, worker):
    held, free = job(), job()
    first = job()
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            cursor.execute("SELECT 1 FROM aetheris_job WHERE id = %s FOR NO KEY UPDATE", [held.pk])
            step_id = step_of(first, "a").pk
            assert pair.at_once(lambda: run_step(step_id, worker), lambda: 0) == [4, 0]
        finally:
            cursor.execute("ROLLBACK")
    assert ended(held, free, first) == [free, first]


def test_workers_that_take_at_the_same_time_take_different_steps(pair: Threads, worker, other):
    other.others = ("default",)
    jobs = [job() for _ in range(60)]
    first, second = step_of(jobs[0], "a").pk, step_of(jobs[1], "a").pk
    ran = pair.at_once(lambda: run_step(first, worker), lambda: run_step(second, other))
    assert sum(ran) == 120
    assert ended(*jobs) == jobs
    assert all(told(one).count("step_claimed") == 2 for one in jobs)


@pytest.mark.parametrize("what", ["hint", "end"])
def test_a_worker_whose_answer_was_lost_finds_what_it_took(what, worker, monkeypatch):
    first, second = job(), job()
    if what == "hint":
        claim(first, worker, "a")
    real = Turn._call

    def call(turn):
        answer = real(turn)
        if answer.get("taken"):
            monkeypatch.setattr(Turn, "_call", real)
            raise OperationalError("server closed the connection unexpectedly (after COMMIT)")
        return answer

    monkeypatch.setattr(Turn, "_call", call)
    assert run_step(step_of(first, "a").pk, worker) == (2 if what == "hint" else 4)
    assert ended(second)
    assert [step.attempt for step in second.steps.all()] == [1, 1]


def test_a_step_that_cannot_be_taken_takes_no_turn_along(worker):
    first, poisoned = job(), job()
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE aetheris_step ADD CONSTRAINT poison CHECK (job_id <> %s OR status <> 'running') NOT VALID",
            [poisoned.pk],
        )
        try:
            assert run_step(step_of(first, "a").pk, worker) == 2
        finally:
            cursor.execute("ALTER TABLE aetheris_step DROP CONSTRAINT poison")
    assert ended(first, poisoned) == [first]
    assert statuses(poisoned) == {"a": "ready", "b": "blocked"}


def test_a_worker_that_drains_takes_nothing(worker):
    first, second = job(), job()
    worker.drain()
    run_step(step_of(first, "a").pk, worker)
    assert statuses(second) == {"a": "ready", "b": "blocked"}


def test_a_full_queue_gets_no_more_messages_and_its_jobs_are_done_all_the_same(worker, monkeypatch):
    monkeypatch.setattr(dispatch, "crowd", dispatch.Crowd())
    monkeypatch.setattr(dispatch, "FULL_QUEUE", 3)
    monkeypatch.setattr(dispatch, "LOOK_EVERY", 1)
    jobs = [job() for _ in range(10)]
    assert leases.queue_depths(["default"])["default"] == 3
    run_step(step_of(jobs[0], "a").pk, worker)
    assert ended(*jobs) == jobs


def test_what_only_some_workers_can_do_is_always_told(monkeypatch, worker):
    monkeypatch.setattr(dispatch, "crowd", dispatch.Crowd())
    monkeypatch.setattr(dispatch, "FULL_QUEUE", 0)
    monkeypatch.setattr(dispatch, "LOOK_EVERY", 1)
    assert not dispatch.crowd.has("default+gpu", 1)
    assert dispatch.crowd.has("default", 1)
