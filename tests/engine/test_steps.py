"""What running a step can end in: results, retries, deadlines, crashes, and anything that Python can raise."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from runtime import recovery
from runtime.exceptions import Permanent
from runtime.execution import run_step
from runtime.graph import Graph
from runtime.models import Job, Step
from runtime.outcomes import Completed, Failed, Retry, Waiting
from runtime.ports import CrashPoint
from tests.agents_app.world import world
from tests.engine.driving import (
    claim,
    crash_at,
    doing,
    last_error,
    run_once,
    statuses,
    step_of,
    submit,
    told,
    why,
)
from tests.engine.driving import (
    drive as drive_with,
)


def fails(*errors: BaseException) -> Any:
    """A function that raises these, one a time, and then answers."""
    left = list(errors)

    def function(context: Any) -> str:
        if left:
            raise left.pop(0)
        return "done"

    return function


def wait_of(step: Step) -> timedelta:
    assert step.run_after is not None and step.ready_at is not None
    return step.run_after - step.ready_at


# Retries


@pytest.mark.pg_slice
def test_a_failed_attempt_is_retried_after_a_growing_pause(worker, clock):
    retry = {"backoff": 10, "factor": 3, "max_backoff": 50, "jitter": False, "max_attempts": 9}
    job = submit(doing(fails(*[ValueError(str(number)) for number in range(4)]), retry=retry))
    for failures, pause in enumerate((10, 30, 50, 50), start=1):
        step = run_once(job, worker)
        assert (step.status, step.failures, wait_of(step)) == ("ready", failures, timedelta(seconds=pause))
        assert run_step(step.pk, worker) == 0  # not due
        clock.forward(seconds=pause + 1)
    assert drive_with(job, worker).result == "done"
    assert step_of(job).attempt == 5
    assert told(job, step="it") == ["step_claimed", "step_retried"] * 4 + ["step_claimed", "step_completed"]


def test_jitter_takes_off_at_most_half_of_the_pause(worker):
    for _ in range(10):
        job = submit(doing(fails(ValueError()), retry={"backoff": 100}))
        assert 50 <= wait_of(run_once(job, worker)).total_seconds() <= 100


def test_the_event_of_a_retry_says_when_and_why(worker):
    job = submit(doing(fails(ValueError("no luck")), retry={"backoff": 10, "jitter": False}))
    run_once(job, worker)
    event = job.events.get(type="step_retried")
    assert event.data == {"failures": 1, "after_ms": 10_000}
    error: Any = job.event_parts.get(seq=event.seq, name="error").value
    assert (error["type"], error["message"]) == ("ValueError", "no luck")
    assert "in function" in error["traceback"][-1]


def test_a_step_fails_with_the_last_cause_when_its_attempts_are_used_up(worker, clock):
    job = submit(doing(fails(*[ValueError(str(n)) for n in range(9)]), retry={"max_attempts": 3}))
    for _ in range(3):
        clock.forward(hours=1)
        run_once(job, worker)
    assert (job.status, why(job)["message"], step_of(job).attempt) == ("failed", "2", 3)
    assert told(job, step="it")[-2:] == ["step_claimed", "step_failed"]


def test_a_permanent_error_is_not_retried(worker):
    job = submit(doing(fails(Permanent("never"))))
    run_once(job, worker)
    assert (job.status, why(job)["type"], step_of(job).attempt) == ("failed", "Permanent", 1)


def test_a_step_may_say_itself_how_it_ends(worker):
    for outcome, status in (
        (Completed(5), "completed"),
        (Failed({"type": "Own", "message": "my words"}), "failed"),
        (Retry({"type": "Own", "message": "later"}, timedelta(hours=3)), "ready"),
        (Waiting("signal", "go"), "waiting"),
    ):
        job = submit(doing(lambda context, outcome=outcome: outcome))
        assert run_once(job, worker).status == status
    assert wait_of(Step.objects.get(status="ready")) == timedelta(hours=3)


def test_a_step_that_waits_twice_goes_on_where_it_was_woken(worker, drive):
    def twice(context: Any) -> Any:
        if context.resume is None:
            return Waiting("signal", "first")
        if context.resume["payload"] == "one":
            return Waiting("signal", "second")
        return context.resume["payload"]

    job = drive(submit(doing(twice)))
    job.signal("first", "one")
    drive(job)
    assert step_of(job).waiting_for == "signal:second"
    job.signal("second", "two")
    assert drive(job).result == "two"
    assert step_of(job).failures == 0


def test_a_retried_step_gets_again_what_woke_it(worker, drive, clock):
    seen = []

    def function(context: Any) -> Any:
        if context.resume is None:
            return Waiting("signal", "go")
        seen.append(context.resume["payload"])
        if len(seen) == 1:
            raise ValueError("once")
        return "done"

    job = drive(submit(doing(function)))
    job.signal("go", 7)
    drive(job)
    clock.forward(hours=1)
    assert drive(job).result == "done"
    assert seen == [7, 7]


# What a step may raise and return


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("I have no words")


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), RecursionError(), MemoryError(), asyncio.CancelledError(),
     StopIteration(), Unspeakable(), ValueError("nul \0 and \ud800"), ValueError("x" * 1_000_000)],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_whatever_a_step_raises_ends_the_step_and_not_the_worker(error, worker):
    job = submit(doing(fails(error)))
    step = run_once(job, worker)
    assert (step.status, step.failures) == ("ready", 1)
    assert last_error(job)["type"] == type(error).__name__
    assert len(last_error(job)["message"]) <= 2000


def nested(depth: int) -> Any:
    value: Any = None
    for _ in range(depth):
        value = [value]
    return value


def cyclic() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


NOT_JSON: dict[str, tuple[Callable[[], Any], str]] = {
    "set": (lambda: {1, 2}, "set"),
    "object": (lambda: object(), "object"),
    "lock": (threading.Lock, "lock"),
    "bytes": (lambda: b"x", "bytes"),
    "nan": (lambda: {"a": [float("nan")]}, "a[0]"),
    "infinity": (lambda: float("inf"), "inf"),
    "nul": (lambda: "a\0b", "NUL"),
    "surrogate": (lambda: "\ud800", "surrogate"),
    "number as key": (lambda: {1: 2}, "texts"),
    "huge": (lambda: "x" * 9_000_000, "limit"),
    "deep": (lambda: nested(5000), "deeper"),
    "cyclic": (cyclic, "deeper"),
}


@pytest.mark.parametrize("name", NOT_JSON)
def test_a_result_that_is_not_json_fails_the_step_at_once_and_says_why(name, worker):
    result, told_of = NOT_JSON[name]
    job = submit(doing(lambda context: result()))
    run_once(job, worker)
    assert (job.status, step_of(job).attempt) == ("failed", 1)
    assert told_of in why(job)["message"]
    assert "it result" in why(job)["message"]


@pytest.mark.parametrize(
    "result", [None, False, 0, "", [], {}, {"null": None}, "null", 2**60, 0.1, "\u2028\u202e💥"], ids=repr
)
def test_every_json_value_is_recorded_as_it_is(result, drive):
    job = drive(Job.objects.submit("echo", result))
    assert (job.status, job.result) == ("completed", result)
    assert type(job.result) is type(result)


def test_a_coroutine_step_is_awaited(drive):
    async def function(context: Any) -> str:
        await asyncio.sleep(0)
        return "awaited"

    assert drive(submit(doing(function))).result == "awaited"


def test_a_coroutine_step_may_call_a_tool(drive):
    async def function(context: Any) -> Any:
        return await asyncio.to_thread(lambda: "x") + context.tool("lookup", name="y")["name"]

    assert drive(submit(doing(function))).result == "xy"


def test_a_coroutine_step_that_raises_is_retried(worker):
    async def function(context: Any) -> None:
        raise ValueError("inside")

    assert run_once(submit(doing(function)), worker).status == "ready"


# Deadlines and lost workers


@pytest.mark.pg_slice
def test_a_step_past_its_deadline_is_retried_and_what_its_thread_writes_later_is_refused(
    worker, other, clock
):
    def hangs(context: Any) -> str:
        if context.step.attempt == 1:
            clock.forward(seconds=61)
            assert recovery.end_overdue() == 1
        return f"attempt {context.step.attempt}"

    job = submit(doing(hangs, timeout=60))
    step = run_once(job, worker)
    assert (step.status, step.failures, step.result) == ("ready", 1, None)
    assert last_error(job)["type"] == "StepTimedOut"
    clock.forward(hours=1)
    assert drive_with(job, other).result == "attempt 2"
    assert told(job, step="it") == ["step_claimed", "step_timed_out", "step_claimed", "step_completed"]


def test_a_step_that_always_hangs_fails_after_its_last_attempt(worker, clock):
    job = submit(doing(lambda context: 1, timeout=60, retry={"max_attempts": 2}))
    for _ in range(2):
        clock.forward(hours=1)
        claim(job, worker)
        clock.forward(hours=1)
        assert recovery.end_overdue() == 1
    job.refresh_from_db()
    assert (job.status, why(job)["type"]) == ("failed", "StepTimedOut")


def test_a_step_within_its_deadline_is_left_alone(worker, clock):
    job = submit(doing(lambda context: 1, timeout=60))
    step = claim(job, worker)
    clock.forward(seconds=30)
    assert recovery.end_overdue() == 0
    step.complete()


def test_a_poisonous_step_that_kills_every_worker_fails_after_its_last_attempt(worker, clock):
    job = submit(doing(lambda context: 1, retry={"max_attempts": 3}))
    for _ in range(3):
        with crash_at(CrashPoint.AFTER_CLAIM):
            run_once(job, worker)
        clock.forward(minutes=1)
        assert recovery.rescue_lost() == 1
        worker.beat()
    job.refresh_from_db()
    assert (job.status, why(job)["type"], step_of(job).attempt) == ("failed", "WorkerLost", 3)
    assert str(worker.id) in why(job)["message"]


def test_a_crash_after_the_record_loses_nothing(worker, other):
    job = Job.objects.submit("diamond", 1)
    with crash_at(CrashPoint.AFTER_RECORD):
        run_once(job, worker, "top")
    assert statuses(job)["top"] == "completed"
    recovery_of(job, other)
    assert drive_with(job, other).status == "completed"
    assert step_of(job, "top").attempt == 1


def recovery_of(job: Job, worker: Any) -> None:
    for step in job.steps.filter(status="running"):
        step.rescue()


# Going on


def test_a_worker_hands_a_job_back_when_it_has_kept_it_long_enough(worker, settings):
    settings.AETHERIS = {**settings.AETHERIS, "KEEP_JOB_SECONDS": 0.0}
    job = Job.objects.submit("counting")
    assert run_step(step_of(job, "s0").pk, worker) == 1
    assert statuses(job)["s1"] == "ready"
    assert drive_with(job, worker).result == 10


def test_a_draining_worker_finishes_its_step_and_begins_no_other(worker, other):
    world.doings["drain"] = lambda context: worker.drain()
    graph = Graph()
    graph.function("a", "do", what="drain") >> graph.function("b", "say")
    job = submit(graph)
    assert run_step(step_of(job, "a").pk, worker) == 1
    assert statuses(job) == {"a": "completed", "b": "ready"}
    drive_with(job, other)


def test_a_step_of_a_queue_that_the_worker_does_not_serve_is_left_to_others(worker):
    graph = Graph()
    first = graph.function("first", "say")
    first >> graph.function("light", "say")
    first >> graph.function("heavy", "say", queue="heavy")
    job = submit(graph)
    run_once(job, worker, "first")
    assert statuses(job) == {"first": "completed", "light": "completed", "heavy": "ready"}
    drive_with(job, worker)


def test_a_worker_that_goes_on_takes_the_sibling_of_the_highest_priority_first(worker):
    graph = Graph()
    first = graph.function("first", "say")
    for key, priority in (("low", -5), ("high", 5), ("middle", 1)):
        first >> graph.function(key, "say", priority=priority)
    job = submit(graph)
    run_once(job, worker, "first")
    claimed = list(job.events.filter(type="step_claimed").values_list("step", flat=True))
    assert claimed == ["first", "high", "middle", "low"]


def test_a_late_step_reads_a_result_that_the_worker_has_forgotten(drive):
    graph = Graph()
    previous = first = graph.function("s0", "add", one=41)
    for number in range(1, 299):
        following = graph.function(f"s{number}", "say")
        previous >> following
        previous = following
    last = graph.function("last", "say", value=first)
    previous >> last
    assert drive(submit(graph)).result == 42


def test_a_step_that_is_handed_back_has_not_failed(worker, other):
    job = submit(doing(lambda context: 1))
    step = claim(job, worker)
    with worker.holding(step):
        worker.hand_back("the worker stops")
    step.refresh_from_db()
    assert (step.status, step.failures, step.attempt) == ("ready", 0, 1)
    assert drive_with(job, other).status == "completed"


def test_a_hint_before_its_time_claims_nothing(worker, clock):
    job = submit(doing(lambda context: 1))
    claim(job, worker).retry({"type": "E", "message": "busy"}, after=timedelta(minutes=1))
    assert run_once(job, worker).status == "ready"
    clock.forward(minutes=2)
    assert run_once(job, worker).status == "completed"


def test_a_hint_for_a_step_that_is_not_to_be_had_costs_nothing(worker, drive):
    job = drive(Job.objects.submit("echo"))
    before = told(job)
    assert run_step(step_of(job, "echo").pk, worker) == 0
    assert run_step(2**60, worker) == 0
    assert told(job) == before


# Recorded values


def test_a_retry_gets_the_clock_the_chance_and_the_ids_of_the_first_attempt(worker, clock):
    seen: list[Any] = []

    def function(context: Any) -> Any:
        seen.append(
            [
                context.now(),
                context.random(),
                context.uuid4(),
                context.random(),
                context.record("own", lambda: len(seen)),
            ]
        )
        if len(seen) == 1:
            raise ValueError("once")
        return str(seen[-1][2])

    job = submit(doing(function))
    run_once(job, worker)
    clock.forward(hours=5)
    assert drive_with(job, worker).result == str(seen[0][2])
    assert seen[0] == seen[1]
    assert seen[0][1] != seen[0][3]


def test_recorded_values_are_durable_before_a_tool_is_called(worker, other, clock):
    seen = []

    def function(context: Any) -> Any:
        seen.append(context.random())
        return context.tool("lookup", name=str(seen[-1]))

    job = submit(doing(function))
    with crash_at(CrashPoint.AFTER_INTENT):
        run_once(job, worker)
    assert [effect.name for effect in step_of(job).effects.all()] == ["random"]
    clock.forward(minutes=1)
    assert recovery.rescue_lost() == 1
    assert drive_with(job, other).result == {"name": str(seen[0]), "amount": 50}
    assert seen[0] == seen[1]
    types = told(job, step="it")
    assert types.index("effect_recorded") < types.index("tool_called")


def test_values_of_a_crashed_attempt_that_led_to_nothing_outside_may_change(worker, other, clock):
    seen = []
    job = submit(doing(lambda context: seen.append(context.random())))
    with crash_at(CrashPoint.BEFORE_RECORD):
        run_once(job, worker)
    clock.forward(minutes=1)
    recovery.rescue_lost()
    assert drive_with(job, other).status == "completed"
    assert len(seen) == 2
    assert step_of(job).effects.count() == 1


def test_a_recorded_value_that_is_not_json_fails_the_step(worker):
    job = submit(doing(lambda context: context.record("x", lambda: {1})))
    run_once(job, worker)
    assert (job.status, "it.x" in why(job)["message"]) == ("failed", True)


def test_values_of_an_attempt_that_lost_its_step_are_not_recorded(worker, other, clock, outside):
    seen = []

    def function(context: Any) -> Any:
        seen.append(context.random())
        if context.step.attempt == 1:
            clock.forward(minutes=1)
            assert recovery.rescue_lost() == 1
            other.beat()
            claim(job, other)
        return context.tool("lookup", name=str(seen[-1]))

    job = submit(doing(function))
    run_once(job, worker)
    assert (outside.effects(), step_of(job).effects.count()) == ([], 0)
    step_of(job).retry({"type": "E", "message": "let me"})
    drive_with(job, other)
    assert job.result == {"name": str(seen[1]), "amount": 50}
    assert step_of(job).effects.get().value == seen[1]


def test_a_coroutine_step_records_its_values_and_calls_coroutine_tools(worker, clock):
    seen = []

    async def function(context: Any) -> Any:
        await asyncio.sleep(0)
        seen.append((context.random(), context.now()))
        booked = context.tool("book", room="r")["booked"]
        if len(seen) == 1:
            raise ValueError("once")
        return booked

    job = submit(doing(function))
    run_once(job, worker)
    clock.forward(hours=1)
    assert drive_with(job, worker).result == "r"
    assert seen[0] == seen[1]
    assert len(world.effects()) == 1


# Outcomes that cannot be recorded


@pytest.mark.parametrize(
    "outcome",
    [
        Failed({"type": "E", "why": {1}}),
        Failed("just text"),  # type: ignore[arg-type]
        Retry({"at": object()}),
        Completed(1, branch="x" * 101),
        Waiting("signal", "x" * 256),
        Waiting("signal", "a\0b"),
        Waiting("signal", "go", schema={"x": float("nan")}),
    ],
    ids=lambda outcome: type(outcome).__name__,
)
def test_an_outcome_that_cannot_be_recorded_fails_the_step_at_once_and_says_why(outcome, worker):
    job = submit(doing(lambda context: outcome))
    run_once(job, worker)
    assert (job.status, step_of(job).attempt, why(job)["type"]) in (
        ("failed", 1, "InputInvalid"),
        ("failed", 1, "Permanent"),
    )
    assert "it" in why(job)["message"]


def test_a_recorded_value_must_have_a_name_that_can_be_kept(worker):
    job = submit(doing(lambda context: context.record("x" * 201, lambda: 1)))
    run_once(job, worker)
    assert (job.status, why(job)["type"]) == ("failed", "InputInvalid")
