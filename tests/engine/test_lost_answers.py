"""The answer to a COMMIT is lost: the rows are asked what happened, and neither code nor a call runs again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, transaction

from runtime import batches, recall, recovery, resolution
from runtime.exceptions import IdempotencyConflict
from runtime.graph import Graph
from runtime.models import Job
from runtime.turn import Turn
from tests.agents_app.world import world
from tests.engine.driving import (
    calling,
    claim,
    doing,
    entry_of,
    run_once,
    statuses,
    step_of,
    submit,
    told,
)
from tests.engine.driving import (
    drive as drive_with,
)
from tests.engine.scoped import failing_for
from tools import NotSent

pytestmark = pytest.mark.pg_slice


@contextmanager
def lost(
    *which: Callable[[dict[str, Any]], bool], happened: bool = True, then: Callable[[], Any] | None = None
) -> Iterator[None]:
    """The connection breaks around the first turn that fits, after or before its COMMIT."""
    real, left = Turn._call, list(which)

    def call(turn: Turn) -> Any:
        fits = left and left[0](turn.payload)
        if fits and not happened:
            left.pop(0)
            raise OperationalError("server closed the connection unexpectedly (before COMMIT)")
        answer = real(turn)
        if fits:
            left.pop(0)
            if then is not None:
                then()
            raise OperationalError("server closed the connection unexpectedly (after COMMIT)")
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Turn, "_call", call)
        yield
    assert not left, "no turn fitted"


@contextmanager
def lost_batch(*, happened: bool) -> Iterator[None]:
    """The connection breaks around the turns of a sweep, whose next round finds what is left to do."""
    real = batches._send

    def send(turns: Sequence[Turn]) -> Any:
        if happened:
            real(turns)
        raise OperationalError("server closed the connection unexpectedly")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(OperationalError):
        patch.setattr(batches, "_send", send)
        yield


def has(op: str, **values: Any) -> Callable[[dict[str, Any]], bool]:
    def fits(payload: dict[str, Any]) -> bool:
        found = (o for o in payload.get("ops", ()) if o["op"] == op)
        return any(all(o.get(key) == value for key, value in values.items()) for o in found)

    return fits


def is_claim(payload: dict[str, Any]) -> bool:
    return "step" in payload and "claim" in payload


def is_submit(payload: dict[str, Any]) -> bool:
    return "submit" in payload


EITHER = pytest.mark.parametrize("happened", [True, False], ids=["after COMMIT", "before COMMIT"])
RUNS = {"count": 0}


def counting(context: Any) -> int:
    RUNS["count"] += 1
    return RUNS["count"]


@pytest.fixture(autouse=True)
def not_run_yet() -> None:
    RUNS["count"] = 0


@EITHER
def test_a_lost_record_does_not_run_the_step_again(happened, worker):
    job = submit(doing(counting))
    with lost(has("move", to="completed"), happened=happened):
        run_once(job, worker)
    assert (job.status, job.result, RUNS["count"]) == ("completed", 1, 1)
    assert told(job) == ["job_submitted", "plan_recorded", "step_claimed", "step_completed", "job_completed"]


@EITHER
def test_a_lost_record_that_claimed_the_next_step_goes_on_with_it(happened, worker):
    job = Job.objects.submit("counting")
    with lost(has("move", to="completed", key="s3"), happened=happened):
        run_once(job, worker, "s0")
    assert (job.status, job.result) == ("completed", 10)
    assert all(step.attempt == 1 for step in job.steps.all())


def test_a_turn_that_commits_only_after_it_was_looked_for_is_found_all_the_same(worker, monkeypatch):
    """The server goes on with a statement for a while when its client is gone."""
    look = recall.answer_of
    late: list[Any] = []

    def looking(turn: Turn) -> Any:
        found = look(turn)
        if not late:
            late.append(turn._call())
        return found

    job = Job.objects.submit("counting")
    monkeypatch.setattr(recall, "answer_of", looking)
    with lost(has("move", to="completed", key="s3"), happened=False):
        run_once(job, worker, "s0")
    assert late
    assert (job.status, job.result) == ("completed", 10)
    assert all(step.attempt == 1 for step in job.steps.all())


@EITHER
def test_a_lost_claim_runs_the_step_once(happened, worker):
    job = submit(doing(counting))
    with lost(is_claim, happened=happened):
        run_once(job, worker)
    assert (job.result, step_of(job).attempt) == (1, 1)


@EITHER
def test_a_lost_intent_makes_the_call_once(happened, worker, outside):
    job = submit(calling("charge"))
    with lost(has("intend"), happened=happened):
        run_once(job, worker)
    assert (job.status, len(outside.effects()), entry_of(job).calls) == ("completed", 1, 1)
    assert told(job).count("tool_called") == 1


@EITHER
def test_a_lost_intent_that_rode_with_the_claim_makes_the_call_once(happened, worker, outside):
    graph = Graph()
    graph.tool("a", "charge") >> graph.tool("b", "charge")
    job = submit(graph)
    with lost(has("move", to="completed", key="a"), happened=happened):
        run_once(job, worker, "a")
    assert (job.status, len(outside.effects())) == ("completed", 2)
    assert told(job, step="b") == ["step_claimed", "tool_called", "tool_returned", "step_completed"]


@EITHER
def test_a_lost_settlement_inside_a_function_is_settled_once(happened, worker, outside):
    job = submit(doing(lambda context: context.tool("charge")))
    with lost(has("settle", to="committed"), happened=happened):
        run_once(job, worker)
    assert (job.status, len(outside.effects()), told(job).count("tool_returned")) == ("completed", 1, 1)


@EITHER
def test_a_lost_second_start_of_a_call_sends_it_once(happened, worker, outside, clock):
    outside.before["charge"].append(NotSent("busy"))
    job = submit(calling("charge"))
    run_once(job, worker)
    clock.forward(minutes=5)
    with lost(has("settle", to="started"), happened=happened):
        run_once(job, worker)
    assert (job.status, len(outside.effects()), entry_of(job).calls) == ("completed", 1, 2)


@EITHER
@pytest.mark.parametrize("key", ["k", None])
def test_a_lost_submit_makes_one_job(key, happened):
    with lost(is_submit, happened=happened):
        job = Job.objects.submit("echo", 1, idempotency_key=key)
    assert Job.objects.get() == job
    assert told(job) == ["job_submitted", "plan_recorded"]


def test_a_lost_submit_whose_key_belongs_to_another_request_is_still_a_conflict():
    Job.objects.submit("echo", 1, idempotency_key="k")
    with lost(is_submit), pytest.raises(IdempotencyConflict):
        Job.objects.submit("echo", 2, idempotency_key="k")
    assert Job.objects.count() == 1


@EITHER
def test_a_lost_signal_acts_once(happened, drive):
    job = drive(Job.objects.submit("wait"))
    with lost(has("signal"), happened=happened):
        job.signal("go", 1)
    assert (drive(job).result, job.signals.count()) == (1, 1)
    assert told(job).count("signal_received") == 1


@EITHER
def test_a_lost_decision_acts_once(happened, drive, boss, outside):
    job = drive(Job.objects.submit("ask", {"amount": 500}))
    with lost(has("signal"), happened=happened):
        job.decide("ok", approve=True, user=boss, answer={"why": "x"})
    assert (drive(job).status, len(outside.effects())) == ("completed", 1)
    assert told(job).count("approval_decided") == 1


@EITHER
def test_a_lost_park_waits_once(happened, worker):
    job = Job.objects.submit("wait")
    with lost(has("move", to="waiting"), happened=happened):
        run_once(job, worker, "go")
    assert (statuses(job), job.waits.count()) == ({"go": "waiting"}, 1)


@EITHER
def test_a_lost_retry_counts_one_failure(happened, worker):
    def fails(context: Any) -> None:
        raise ValueError("x")

    job = submit(doing(fails))
    with lost(has("move", to="ready"), happened=happened):
        step = run_once(job, worker)
    assert (step.status, step.failures, told(job).count("step_retried")) == ("ready", 1, 1)


@EITHER
def test_a_lost_failure_fails_the_job_once(happened, worker):
    job = Job.objects.submit("failing")
    with lost(has("move", to="failed"), happened=happened):
        run_once(job, worker, "fails")
    assert (job.status, told(job).count("step_failed"), told(job).count("job_failed")) == ("failed", 1, 1)


@EITHER
def test_a_lost_rescue_counts_one_failure(happened, worker, clock):
    job = Job.objects.submit("echo")
    claim(job, worker, "echo")
    clock.forward(minutes=1)
    with lost_batch(happened=happened):
        recovery.rescue_lost()
    assert recovery.rescue_lost() == (0 if happened else 1)
    assert (step_of(job, "echo").failures, told(job).count("step_rescued")) == (1, 1)


@EITHER
@pytest.mark.parametrize("verb", ["cancel", "pause"])
def test_a_lost_operation_is_told_once(verb, happened):
    job = Job.objects.submit("echo")
    with lost(has("job"), happened=happened):
        getattr(job, verb)(by="ops")
    assert told(job).count({"cancel": "operator_acted", "pause": "job_paused"}[verb]) == 1


@EITHER
def test_a_lost_retry_of_a_job_reopens_it_once_and_is_not_refused(happened, drive):
    failing_for("x")
    graph = Graph()
    graph.function("it", "do", what="fail for", value="x")
    job = drive(submit(graph))
    with lost(has("job", verb="reopen"), happened=happened):
        job.retry(by="ops")
    assert (job.status, told(job).count("job_reopened"), statuses(job)) == ("running", 1, {"it": "ready"})


@EITHER
def test_a_lost_resolution_is_told_once(happened, worker, outside):
    outside.after["charge"].append(TimeoutError())
    job = submit(calling("charge"))
    run_once(job, worker)
    with lost(has("settle", to="committed"), happened=happened):
        resolution.resolve(entry_of(job), "happened", by="a", why="b", result=1)
    assert (drive_with(job, worker).result, told(job).count("tool_reconciled")) == (1, 1)


@EITHER
def test_a_lost_end_whose_result_is_an_expression_is_recovered(happened, worker):
    graph = Graph()
    graph.function("a", "say", value=3)
    graph.result({"twice": "${a * 2}"})
    job = submit(graph)
    with lost(lambda payload: "result" in payload, happened=happened):
        run_once(job, worker, "a")
    assert (job.status, job.result) == ("completed", {"twice": 6})


def test_an_answer_lost_before_the_result_was_asked_for_is_recovered(worker):
    graph = Graph()
    graph.function("a", "say", value=3)
    graph.result({"twice": "${a * 2}"})
    job = submit(graph)
    with lost(has("move", to="completed"), happened=False):
        run_once(job, worker, "a")
    assert (job.status, job.result) == ("completed", {"twice": 6})


@EITHER
def test_lost_recorded_values_are_the_same_on_retry(happened, worker, clock):
    seen = []

    def function(context: Any) -> Any:
        seen.append(context.random())
        context.tool("lookup")
        if len(seen) == 1:
            raise ValueError("once")
        return "done"

    job = submit(doing(function))
    with lost(has("effects"), happened=happened):
        run_once(job, worker)
    clock.forward(hours=1)
    assert drive_with(job, worker).result == "done"
    assert seen[0] == seen[1]


def test_several_answers_lost_in_a_row_change_nothing(worker, outside):
    graph = Graph()
    previous = graph.tool("t0", "charge", amount=1)
    for number in range(1, 4):
        following = graph.tool(f"t{number}", "charge", amount=1)
        previous >> following
        previous = following
    job = submit(graph)
    every = [lambda payload: bool(payload.get("ops") or payload.get("claim"))] * 5
    with lost(*every):
        run_once(job, worker, "t0")
    assert (job.status, len(outside.effects())) == ("completed", 4)


def test_a_thread_does_not_take_the_step_of_another_for_its_own(worker):
    """Two threads of one worker: what the other has claimed meanwhile is not what the lost turn claimed."""
    graph = Graph()
    graph.function("a", "do", what="count")
    graph.function("b", "do", what="count", queue="heavy")
    world.doings["count"] = counting
    job = submit(graph)
    held = []

    def other_thread() -> None:
        step = claim(job, worker, "b")
        held.append(worker.holding(step))
        held[0].__enter__()

    with lost(has("move", to="completed", key="a"), then=other_thread):
        run_once(job, worker, "a")
    assert (RUNS["count"], statuses(job)) == (1, {"a": "completed", "b": "running"})
    held[0].__exit__(None, None, None)
    step_of(job, "b").complete()


def test_inside_a_callers_transaction_a_lost_connection_is_the_callers_to_answer():
    job = Job.objects.submit("echo")
    with lost(has("job"), happened=False), pytest.raises(OperationalError), transaction.atomic():
        job.pause()
    assert told(job) == ["job_submitted", "plan_recorded"]


@EITHER
def test_a_lost_deadline_is_told_once(happened, drive, clock):
    graph = Graph()
    graph.wait("go", signal="go", timeout=timedelta(hours=1), on_timeout="continue")
    job = drive(submit(graph))
    clock.forward(hours=2)
    with lost_batch(happened=happened):
        recovery.wake_due()
    assert recovery.wake_due() == (0 if happened else 1)
    assert (drive(job).status, told(job).count("timer_fired")) == ("completed", 1)
