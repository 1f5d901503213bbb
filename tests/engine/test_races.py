# ruff: noqa: B023 - each round is over before the next one begins
"""Races with real transactions: whatever happens at the same moment, one wins and everybody agrees who."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from runtime import batches, hinting, recovery
from runtime.exceptions import AetherisError, ApprovalRefused, JobFinished, StaleAttempt
from runtime.graph import Graph
from runtime.models import Job, Step
from runtime.models.step import claim as claim_by_id
from runtime.outcomes import Waiting
from tests.engine.driving import Threads, claim, doing, drive, statuses, step_of, submit, told

ROUNDS = 200


def test_two_workers_claim_one_step_and_one_wins_in_200_of_200(pair: Threads, worker, other):
    winners = []
    for _ in range(ROUNDS):
        step = step_of(Job.objects.submit("echo"), "echo")
        answers = pair.at_once(
            lambda: claim_by_id(step.pk, worker.id), lambda: claim_by_id(step.pk, other.id)
        )
        assert sum(answer is not None for answer in answers) == 1
        winners.append(answers[0] is not None)
        assert told(step.job, step="echo") == ["step_claimed"]
    assert len(winners) == ROUNDS


def test_two_parents_finish_together_and_release_the_child_once_in_200_of_200(pair: Threads, worker):
    graph = Graph()
    [graph.function("left", "say"), graph.function("right", "say")] >> graph.function("child", "say")
    for _ in range(ROUNDS):
        job = submit(graph)
        left, right = claim(job, worker, "left"), claim(job, worker, "right")
        assert pair.at_once(left.complete, right.complete) == [None, None]
        child = step_of(job, "child")
        assert (child.status, child.pending_parents, child.taken_parents) == ("ready", 0, 2)
        assert Job.objects.get(pk=job.pk).ready_steps == 1


def test_two_finishing_workers_go_on_with_different_siblings(pair: Threads, worker, other):
    for _ in range(20):
        job = Job.objects.submit("fan")
        drive_first = claim(job, worker, "first")
        drive_first.complete()
        one, two = claim(job, worker, "m0"), claim(job, other, "m1")

        def go_on(step: Step, name: Any) -> Any:
            turn = step.turn(worker=name)
            turn.complete(step, None)
            turn.claim(queues=["default"])
            return turn.commit()["claimed"]["key"]

        keys = pair.at_once(lambda: go_on(one, worker.id), lambda: go_on(two, other.id))
        assert sorted(keys) == ["m2", "m3"]


def test_one_idempotency_key_from_two_clients_at_once_makes_one_job(pair: Threads):
    for number in range(50):
        jobs = pair.at_once(*[lambda: Job.objects.submit("echo", 1, idempotency_key=f"k{number}")] * 2)
        assert jobs[0].pk == jobs[1].pk
    assert Job.objects.count() == 50


def test_two_signals_at_once_wake_a_wait_once_and_the_other_stays_in_the_inbox(pair: Threads, worker):
    for _ in range(40):
        job = drive(Job.objects.submit("wait"), worker)
        assert pair.at_once(lambda: job.signal("go", "one"), lambda: job.signal("go", "two")) == [True, True]
        assert sorted(job.signals.values_list("state", flat=True)) == ["buffered", "consumed"]
        drive(job, worker)
        assert job.result == job.signals.order_by("id").first().payload  # type: ignore[union-attr]
        assert told(job).count("step_resumed") == 1


def test_one_signal_delivered_twice_at_once_acts_once(pair: Threads, worker):
    for _ in range(40):
        job = drive(Job.objects.submit("wait"), worker)
        answers = pair.at_once(*[lambda: job.signal("go", "one", dedup_id="d")] * 2)
        assert sorted(answers) == [False, True]
        assert job.signals.count() == 1


def test_a_signal_and_its_waits_deadline_at_once_have_one_winner(pair: Threads, worker):
    outcomes = set()
    for _ in range(60):
        graph = Graph()
        graph.wait("go", signal="go", timeout=3600, on_timeout="continue")
        job = drive(submit(graph), worker)
        wait = job.waits.select_related("step").get()
        signalled, timed_out = pair.at_once(lambda: job.signal("go", "came"), wait.time_out)
        wait.refresh_from_db()
        outcomes.add(wait.outcome)
        assert signalled is True
        assert isinstance(timed_out, StaleAttempt) == (wait.outcome == "signalled")
        assert told(job).count("step_resumed") == 1
        drive(job, worker)
        assert job.result == ("came" if wait.outcome == "signalled" else None)
    assert outcomes <= {"signalled", "timed_out"}


def test_two_sweeps_at_once_rescue_a_step_once(pair: Threads, worker):
    jobs = [Job.objects.submit("echo") for _ in range(30)]
    for job in jobs:
        claim(job, worker, "echo")
    _silence(worker)
    counts = pair.at_once(recovery.rescue_lost, recovery.rescue_lost)
    assert sum(counts) == 30
    for job in jobs:
        assert told(job, step="echo") == ["step_claimed", "step_rescued"]


def test_two_sweeps_at_once_wake_a_wait_once(pair: Threads, worker):
    graph = Graph()
    graph.wait("go", signal="go", timeout=3600, on_timeout="continue")
    jobs = [drive(submit(graph), worker) for _ in range(30)]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE aetheris_wait SET deadline_at = aetheris_now()")
    assert sum(pair.at_once(recovery.wake_due, recovery.wake_due)) == 30
    for job in jobs:
        assert told(job).count("timer_fired") == 1


def test_a_result_and_a_rescue_at_once_have_one_winner(pair: Threads, worker):
    for _ in range(60):
        job = Job.objects.submit("echo")
        step = claim(job, worker, "echo")
        recorded, rescued = pair.at_once(lambda: step.complete(1), step_of(job, "echo").rescue)
        assert [isinstance(answer, StaleAttempt) for answer in (recorded, rescued)].count(True) == 1
        assert statuses(job)["echo"] == ("ready" if rescued is None else "completed")


def test_a_result_and_a_cancel_at_once_leave_a_job_that_has_ended(pair: Threads, worker):
    for _ in range(60):
        job = Job.objects.submit("echo")
        step = claim(job, worker, "echo")
        recorded, cancelled = pair.at_once(lambda: step.complete(1), lambda: job.cancel(by="ops"))
        assert recorded is None
        job.refresh_from_db()
        assert job.status == ("completed" if isinstance(cancelled, JobFinished) else "cancelled")


def test_approve_and_reject_at_once_have_one_winner(pair: Threads, worker, boss):
    for _ in range(40):
        job = drive(Job.objects.submit("ask", {"amount": 500}), worker)
        answers = pair.at_once(
            lambda: job.decide("ok", approve=True, user=boss, answer={"why": "x"}),
            lambda: job.decide("ok", approve=False, user=boss),
        )
        assert [isinstance(answer, ApprovalRefused) for answer in answers].count(True) == 1
        drive(job, worker)
        assert (statuses(job)["refund"] == "completed") == (answers[0] is None)
        assert told(job).count("approval_decided") == 1


def test_a_park_and_its_signal_at_once_never_miss_each_other(pair: Threads, worker):
    for _ in range(60):
        job = submit(doing(lambda context: 1))
        step = claim(job, worker)
        assert pair.at_once(lambda: step.park(Waiting("signal", "go")), lambda: job.signal("go")) == [
            None,
            True,
        ]
        assert statuses(job) == {"it": "ready"}


def test_many_turns_of_one_job_at_once_stay_one_chain(worker):
    threads = Threads(6)
    try:
        job = Job.objects.submit("echo")
        for number in range(20):
            answers = threads.at_once(
                *[lambda n=n: job.signal("note", n, dedup_id=f"{number}.{n}") for n in range(6)]
            )
            assert not any(isinstance(answer, AetherisError) for answer in answers)
        job.refresh_from_db()
        assert job.seq == job.events.count() == 2 + 120
    finally:
        threads.close()


@pytest.fixture
def four(outside: Any) -> Iterator[Threads]:
    threads = Threads(4)
    yield threads
    threads.close()


def test_sweeps_signals_cancels_and_hints_of_one_crowd_never_wait_in_a_circle(four, worker, monkeypatch):
    """The sweep holds many jobs in one transaction; all others come to them in other orders."""
    refused: list[Any] = []
    monkeypatch.setattr(batches.logger, "error", lambda *told, **how: refused.append((told, how)))
    for _ in range(4):
        graph = Graph()
        graph.wait("go", signal="go", timeout=3600, on_timeout="continue") >> graph.function("end", "say")
        graph.wait("other", signal="other")
        jobs = [drive(submit(graph), worker) for _ in range(40)]
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE aetheris_wait SET deadline_at = aetheris_now() WHERE name = 'go' AND closed_at IS NULL"
            )
        steps = list(Step.objects.filter(job__in=jobs).order_by("-id").values_list("pk", flat=True))

        def signalled() -> list[Any]:
            return [_attempt(lambda: job.signal("go")) for job in reversed(jobs)]

        def ended() -> list[Any]:
            return [
                _attempt(job.cancel if number % 3 == 0 else job.pause)
                for number, job in enumerate(jobs[::-1])
            ]

        def hinted() -> None:
            for _ in range(30):
                hinting.note(steps)

        answers = four.at_once(recovery.wake_due, signalled, ended, hinted)
        assert [answer for answer in answers if isinstance(answer, Exception)] == []
        assert [one for one in (*answers[1], *answers[2]) if isinstance(one, Exception)] == []
        recovery.wake_due()
        for job in jobs:
            assert told(job).count("timer_fired") + told(job).count("signal_consumed") <= 1
    assert refused == []


def _attempt(verb: Any) -> Any:
    try:
        return verb()
    except (JobFinished, StaleAttempt):
        return None


def _silence(worker: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE aetheris_worker SET heartbeat_at = heartbeat_at - interval '1 hour' WHERE id = %s",
            [worker.id],
        )
