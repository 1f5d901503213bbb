"""Effects: a call that is not declared safe to repeat is sent at most once, whatever happens, and never guessed at."""

import contextlib
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from runtime import recovery, resolution
from runtime.exceptions import CallInDoubt, CallRefused, InputInvalid, StaleAttempt
from runtime.graph import Graph
from runtime.models import Job, LedgerEntry
from runtime.outcomes import Waiting
from runtime.ports import CrashPoint
from tests.agents_app.world import World
from tests.engine.driving import (
    calling,
    claim,
    crash_at,
    doing,
    entry_of,
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
from tools import Absent, CannotTell, Happened, NotSent, Refused

DOUBT = "unknown:charge#0"


@pytest.fixture
def lose(clock) -> Callable[..., None]:
    """The worker is silent for longer than its lease: the sweep takes its step away."""

    def lose(**units: float) -> None:
        clock.forward(**(units or {"minutes": 1}))
        assert recovery.rescue_lost() == 1

    return lose


def crashed(job: Job, worker: Any, point: CrashPoint, key: str = "it") -> None:
    with crash_at(point):
        run_once(job, worker, key)


def in_doubt(tool: str, worker: Any, lose: Any, **units: float) -> Job:
    """A job whose worker was lost after the call was made, run again by another."""
    job = submit(calling(tool))
    crashed(job, worker, CrashPoint.AFTER_CALL)
    lose(**units)
    worker.beat()
    run_once(job, worker)
    return job


# Crashes


@pytest.mark.pg_slice
@pytest.mark.parametrize(
    "point, effects_then, doubtful",
    [
        (CrashPoint.AFTER_CLAIM, 0, False),
        (CrashPoint.BEFORE_INTENT, 0, False),
        (CrashPoint.AFTER_INTENT, 0, True),
        (CrashPoint.AFTER_CALL, 1, True),
        (CrashPoint.AFTER_SETTLE, 1, True),
        (CrashPoint.BEFORE_RECORD, 1, True),
    ],
)
def test_a_tool_step_that_crashed_is_called_again_only_if_nothing_can_have_happened(
    point, effects_then, doubtful, worker, other, outside, lose
):
    job = submit(calling("charge"))
    crashed(job, worker, point)
    assert len(outside.effects()) == effects_then
    lose()
    drive_with(job, other)
    assert len(outside.effects()) == (effects_then if doubtful else 1)
    step = step_of(job)
    assert (step.status, step.waiting_for) == (("waiting", DOUBT) if doubtful else ("completed", ""))
    assert job.status == ("waiting" if doubtful else "completed")


@pytest.mark.parametrize(
    "point, effects_then, doubtful",
    [
        (CrashPoint.AFTER_INTENT, 0, True),
        (CrashPoint.AFTER_CALL, 1, True),
        (CrashPoint.AFTER_SETTLE, 1, False),
        (CrashPoint.BEFORE_RECORD, 1, False),
    ],
)
def test_a_call_inside_a_function_is_settled_at_once(
    point, effects_then, doubtful, worker, other, outside, lose
):
    job = submit(doing(lambda context: context.tool("charge", amount=5)))
    crashed(job, worker, point)
    lose()
    drive_with(job, other)
    assert len(outside.effects()) == effects_then
    assert statuses(job) == {"it": "waiting" if doubtful else "completed"}
    assert doubtful or job.result == {"charged": 5}


def test_an_intent_that_rode_with_the_claim_is_durable_before_the_call(worker, other, outside, lose):
    graph = Graph()
    graph.function("first", "say", value=3) >> graph.tool("it", "charge", amount="${first}")
    job = submit(graph)
    crashed(job, worker, CrashPoint.AFTER_INTENT, "first")
    assert (entry_of(job).state, statuses(job)) == ("started", {"first": "completed", "it": "running"})
    lose()
    drive_with(job, other)
    assert (step_of(job).waiting_for, len(outside.effects())) == (DOUBT, 0)


def test_a_chain_of_calls_makes_each_once(drive, outside):
    graph = Graph()
    previous = graph.tool("t0", "charge", amount=1)
    for number in range(1, 6):
        previous = graph.tool(f"t{number}", "charge", amount=f"${{{previous.id}.charged + 1.0}}")
    assert drive(submit(graph)).result == {"charged": 6}
    assert [call.arguments["amount"] for call in outside.effects()] == [1, 2, 3, 4, 5, 6]
    assert len({call.key for call in outside.effects()}) == 6


def test_two_calls_of_one_tool_in_one_step_are_two_entries(worker, other, outside, lose):
    job = submit(doing(lambda context: [context.tool("charge", amount=n)["charged"] for n in (1, 2)]))
    with crash_at(CrashPoint.AFTER_SETTLE, time=1):
        run_once(job, worker)
    lose()
    assert drive_with(job, other).result == [1, 2]
    assert [call.arguments["amount"] for call in outside.effects()] == [1, 2]
    assert set(job.ledger.values_list("call", "state")) == {
        ("charge", "committed"),
        ("charge.1", "committed"),
    }


# What the tool declares


@pytest.mark.pg_slice
@pytest.mark.parametrize("tool", ["lookup", "notify", "pay"])
def test_a_call_that_is_declared_safe_to_repeat_is_repeated_with_the_same_key(tool, worker, outside, lose):
    job = in_doubt(tool, worker, lose)
    assert drive_with(job, worker).status == "completed"
    first, second = outside.effects(tool)
    assert first.key == second.key == str(entry_of(job).idempotency_key)
    assert (first.attempt, second.attempt, entry_of(job).calls) == (1, 2, 2)
    assert told(job, step="it") == [
        "step_claimed", "tool_called", "step_rescued",
        "step_claimed", "tool_unknown", "tool_called", "tool_returned", "step_completed",
    ]  # fmt: skip


def test_a_key_that_the_outside_has_forgotten_is_not_used_again(worker, outside, lose):
    job = in_doubt("pay", worker, lose, hours=25)
    assert step_of(job).waiting_for == "unknown:pay#0"
    assert len(outside.effects()) == 1


def test_a_key_is_still_used_just_before_the_outside_forgets_it(worker, outside, lose):
    in_doubt("pay", worker, lose, hours=23)
    assert len(outside.effects()) == 2


def test_a_call_that_the_outside_confirms_is_recorded_and_not_repeated(worker, outside, lose):
    outside.verdicts.append(Happened({"transferred": 1.0, "receipt": "r1"}))
    job = in_doubt("transfer", worker, lose)
    assert (job.status, job.result) == ("completed", {"transferred": 1.0, "receipt": "r1"})
    assert (entry_of(job).source, len(outside.effects())) == ("verify", 1)
    assert outside.asked == [str(entry_of(job).idempotency_key)]
    assert "tool_reconciled" in told(job)


def test_a_call_that_the_outside_will_refuse_from_now_on_is_made_again_at_once(worker, outside, lose):
    outside.verdicts.append(Absent(fencing=True))
    job = in_doubt("transfer", worker, lose, seconds=6)
    assert (job.status, len(outside.effects())) == ("completed", 2)


def test_a_call_that_might_still_arrive_is_not_repeated_before_its_time_to_send_is_over(
    worker, outside, lose, clock
):
    outside.verdicts.extend([Absent(), Absent()])
    job = in_doubt("transfer", worker, lose, seconds=6)
    step = step_of(job)
    assert (step.status, len(outside.effects())) == ("ready", 1)
    assert step.run_after is not None and step.ready_at is not None
    assert timedelta(seconds=20) < step.run_after - step.ready_at < timedelta(seconds=30)
    clock.forward(seconds=31)
    assert drive_with(job, worker).status == "completed"
    assert len(outside.effects()) == 2


def test_a_call_of_which_nobody_can_tell_waits_for_a_person(worker, outside, lose):
    outside.verdicts.append(CannotTell())
    job = in_doubt("transfer", worker, lose)
    assert (step_of(job).waiting_for, len(outside.effects())) == ("unknown:transfer#0", 1)


def test_a_verify_that_fails_is_asked_again_later_and_then_a_person(worker, outside, lose, clock):
    outside.verdicts.extend([ConnectionError("verify is down")] * 9)
    job = in_doubt("transfer", worker, lose)
    assert (statuses(job), entry_of(job).state) == ({"it": "ready"}, "unknown")
    for _ in range(9):
        clock.forward(hours=1)
        drive_with(job, worker)
    assert (step_of(job).waiting_for, len(outside.effects())) == ("unknown:transfer#0", 1)


# What a tool raises


@pytest.mark.pg_slice
def test_a_call_that_was_not_sent_is_made_again_with_the_same_key(worker, outside, clock):
    outside.before["charge"].append(NotSent("connection refused"))
    job = submit(calling("charge"))
    run_once(job, worker)
    assert (entry_of(job).state, statuses(job)) == ("refused", {"it": "ready"})
    clock.forward(minutes=1)
    assert drive_with(job, worker).status == "completed"
    assert (len(outside.effects()), entry_of(job).calls) == (1, 2)
    assert outside.effects()[0].key == str(entry_of(job).idempotency_key)


def test_retry_after_is_honoured(worker, outside):
    outside.before["charge"].append(NotSent("busy", retry_after=timedelta(minutes=7)))
    step = run_once(submit(calling("charge")), worker)
    assert step.run_after is not None and step.ready_at is not None
    assert step.run_after - step.ready_at == timedelta(minutes=7)


def test_a_refused_call_fails_its_step_at_once(worker, outside):
    outside.before["charge"].append(Refused("card expired"))
    job = submit(calling("charge"))
    run_once(job, worker)
    assert (job.status, entry_of(job).state, step_of(job).attempt) == ("failed", "refused", 1)
    assert "card expired" in why(job)["message"]


def test_an_exception_of_a_tool_says_nothing_so_a_person_is_asked(worker, outside):
    outside.after["charge"].append(ConnectionResetError("after the first byte"))
    job = submit(calling("charge"))
    step = run_once(job, worker)
    assert (step.waiting_for, entry_of(job).state, len(outside.effects())) == (DOUBT, "unknown", 1)
    assert "after the first byte" in job.waits.get().prompt


def test_an_exception_of_a_read_only_tool_is_a_plain_retry(worker, outside, clock):
    outside.after["lookup"].append(ConnectionResetError("gone"))
    job = submit(calling("lookup"))
    run_once(job, worker)
    assert (entry_of(job).state, statuses(job)) == ("refused", {"it": "ready"})
    clock.forward(minutes=1)
    assert drive_with(job, worker).status == "completed"


def test_an_exception_of_an_idempotent_tool_is_repeated_with_the_same_key_after_a_pause(
    worker, outside, clock
):
    outside.after["notify"].append(TimeoutError("no answer"))
    job = submit(calling("notify"))
    assert run_once(job, worker).run_after is not None
    clock.forward(minutes=1)
    assert drive_with(job, worker).status == "completed"
    assert len({call.key for call in outside.effects()}) == 1


def test_an_idempotent_tool_that_never_answers_asks_a_person_after_the_last_attempt(worker, outside, clock):
    outside.after["notify"].extend([TimeoutError("no answer")] * 9)
    job = submit(calling("notify", retry={"max_attempts": 3}))
    for _ in range(5):
        drive_with(job, worker)
        clock.forward(hours=1)
    assert (step_of(job).waiting_for, len(outside.effects())) == ("unknown:notify#0", 3)


@pytest.mark.parametrize(
    "answer",
    [lambda: {1, object()}, lambda: "a\0b", lambda: float("nan"), lambda: "x" * 9_000_000],
    ids=["no json", "nul", "nan", "huge"],
)
def test_an_answer_that_cannot_be_recorded_leaves_the_call_in_doubt(answer, worker, outside):
    outside.after["charge"].append(answer)
    job = submit(calling("charge"))
    run_once(job, worker)
    assert (step_of(job).waiting_for, len(outside.effects())) == (DOUBT, 1)


def test_a_coroutine_tool_goes_through_the_ledger_like_any_other(worker, other, outside, lose):
    job = submit(calling("book"))
    crashed(job, worker, CrashPoint.AFTER_CALL)
    lose()
    drive_with(job, other)
    assert (step_of(job).waiting_for, len(outside.effects())) == ("unknown:book#0", 1)
    assert drive_with(submit(calling("book", room="r")), other).result == {"booked": "r"}


def test_a_call_is_not_begun_after_the_steps_time_is_over(worker, outside):
    def function(context: Any) -> Any:
        time.sleep(max(0.0, context.remaining_seconds) + 0.01)
        return context.tool("charge")

    job = submit(doing(function, timeout=0.05))
    run_once(job, worker)
    assert (outside.effects(), entry_of(job).state) == ([], "refused")
    assert last_error(job)["type"] == "NotSent"


def test_a_call_is_not_begun_after_the_job_was_cancelled(worker, outside):
    def function(context: Any) -> Any:
        job.cancel(by="ops")
        worker.beat()
        return context.tool("charge")

    job = submit(doing(function))
    run_once(job, worker)
    assert (outside.effects(), entry_of(job).state, job.status) == ([], "refused", "cancelled")


def test_a_step_cannot_complete_over_a_doubt_that_it_swallowed(worker, outside):
    def function(context: Any) -> str:
        with contextlib.suppress(CallInDoubt):
            context.tool("charge")
        return "all is well"

    outside.after["charge"].append(TimeoutError())
    job = submit(doing(function))
    assert run_once(job, worker).waiting_for == DOUBT


def test_a_step_may_go_on_over_a_refusal(drive, outside):
    def function(context: Any) -> str:
        try:
            context.tool("charge")
        except CallRefused as refused:
            return f"plan b: {refused.error['message']}"
        return "charged"

    outside.before["charge"].append(Refused("no"))
    assert drive(submit(doing(function))).result == "plan b: no"


def test_a_call_with_other_arguments_than_those_recorded_fails_loudly(worker, other, outside, lose):
    amounts = iter([1, 2])
    job = submit(doing(lambda context: context.tool("notify", to=str(next(amounts)))))
    crashed(job, worker, CrashPoint.AFTER_CALL)
    lose()
    drive_with(job, other)
    assert (job.status, why(job)["type"], len(outside.effects())) == ("failed", "FingerprintMismatch", 1)
    assert entry_of(job).state == "unknown"


# A person


@pytest.fixture
def doubtful(worker, outside) -> Job:
    outside.after["charge"].append(TimeoutError("no answer"))
    job = submit(calling("charge"))
    run_once(job, worker)
    return job


@pytest.mark.pg_slice
def test_a_person_says_that_it_happened_and_the_job_goes_on_with_that_result(doubtful, drive, outside):
    resolution.resolve(
        entry_of(doubtful), "happened", by="user:1", why="in the bank's list", result={"charged": 1}
    )
    assert (drive(doubtful).result, len(outside.effects())) == ({"charged": 1}, 1)
    entry = entry_of(doubtful)
    assert (entry.state, entry.source, entry.resolved_by, entry.resolved_why) == (
        "committed", "manual", "user:1", "in the bank's list",
    )  # fmt: skip
    assert doubtful.waits.get().outcome == "resolved"


def test_a_person_says_that_it_did_not_happen_and_it_is_called_with_the_same_key(doubtful, drive, outside):
    resolution.resolve(entry_of(doubtful), "absent", by="user:1", why="not in the list")
    assert drive(doubtful).status == "completed"
    assert [call.key for call in outside.effects()] == [str(entry_of(doubtful).idempotency_key)] * 2


def test_a_person_abandons_it_and_the_step_fails(doubtful, drive, outside):
    resolution.resolve(entry_of(doubtful), "abandon", by="user:1", why="too old")
    job = drive(doubtful)
    assert (job.status, entry_of(job).state, len(outside.effects())) == ("failed", "abandoned", 1)
    assert "abandoned" in why(job)["message"]


def test_who_resolved_a_doubt_and_why_is_told(doubtful, drive):
    resolution.resolve(entry_of(doubtful), "absent", by="user:1", why="not in the list")
    event = doubtful.events.get(type="tool_reconciled")
    assert (event.data["by"], event.data["verdict"]) == ("user:1", "absent")
    operator = doubtful.event_parts.get(seq=event.seq, name="operator").value
    assert operator == {"by": "user:1", "why": "not in the list"}
    drive(doubtful)


def test_a_doubt_is_resolved_once(doubtful, drive):
    stale = entry_of(doubtful)
    resolution.resolve(entry_of(doubtful), "happened", by="a", why="b", result=1)
    for entry in (stale, entry_of(doubtful)):
        with pytest.raises(StaleAttempt):
            resolution.resolve(entry, "absent", by="a", why="b")
    assert drive(doubtful).result == 1


@pytest.mark.parametrize(
    "verdict, why, result",
    [("maybe", "x", None), ("happened", "", None), ("happened", " ", 1), ("happened", "x", {1})],
)
def test_a_resolution_must_be_complete(verdict, why, result, doubtful):
    with pytest.raises(InputInvalid):
        resolution.resolve(entry_of(doubtful), verdict, by="a", why=why, result=result)
    assert entry_of(doubtful).state == "unknown"


def test_a_doubt_of_a_cancelled_job_can_still_be_settled(doubtful):
    doubtful.cancel(by="ops")
    assert entry_of(doubtful).state == "unknown"
    resolution.resolve(entry_of(doubtful), "happened", by="a", why="found it", result=1)
    assert (entry_of(doubtful).state, statuses(doubtful)) == ("committed", {"it": "cancelled"})


# Late truth


def meanwhile(outside: World, tool: str, function: Callable[[], Any], answer: Any = None) -> None:
    """The call takes so long that `function` happens before its answer comes."""

    def behaviour() -> Any:
        function()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    outside.after[tool].append(behaviour)


def taken_over(job_of: list[Job], other: Any, lose: Any) -> Callable[[], None]:
    def function() -> None:
        lose()
        other.beat()
        run_once(job_of[0], other)
        assert step_of(job_of[0]).waiting_for == DOUBT

    return function


@pytest.mark.pg_slice
@pytest.mark.parametrize("graph", [calling("charge"), "function"], ids=["tool", "function"])
def test_late_truth_from_the_attempt_that_made_the_call_readies_the_step_that_waits_in_doubt(
    graph, worker, other, outside, lose
):
    if graph == "function":
        graph = doing(lambda context: context.tool("charge"))
    jobs: list[Job] = []
    meanwhile(outside, "charge", taken_over(jobs, other, lose), {"charged": "late"})
    jobs.append(submit(graph))
    run_once(jobs[0], worker)
    assert (entry_of(jobs[0]).state, statuses(jobs[0])) == ("committed", {"it": "ready"})
    assert drive_with(jobs[0], other).result == {"charged": "late"}
    assert len(outside.effects()) == 1
    assert step_of(jobs[0]).attempt == 3


@pytest.mark.parametrize("kind", ["tool", "function"])
def test_a_late_refusal_readies_the_step_and_the_call_is_made_again(kind, worker, other, outside, lose):
    jobs: list[Job] = []
    meanwhile(outside, "charge", taken_over(jobs, other, lose), NotSent("it never left"))
    jobs.append(
        submit(calling("charge") if kind == "tool" else doing(lambda context: context.tool("charge")))
    )
    run_once(jobs[0], worker)
    assert entry_of(jobs[0]).state == "refused"
    assert drive_with(jobs[0], other).status == "completed"


def test_a_late_result_of_a_step_is_refused_but_its_evidence_is_kept(worker, other, outside, lose):
    """The successor has not come to the call yet: the late truth spares it."""
    job = submit(calling("charge"))
    meanwhile(outside, "charge", lambda: (lose(), other.beat()), {"charged": "late"})
    run_once(job, worker)
    assert (entry_of(job).state, entry_of(job).source, statuses(job)) == (
        "committed",
        "call",
        {"it": "ready"},
    )
    assert drive_with(job, other).result == {"charged": "late"}
    assert told(job, step="it") == [
        "step_claimed", "tool_called", "step_rescued", "tool_returned", "step_claimed", "step_completed",
    ]  # fmt: skip


def test_late_truth_after_a_person_decided_is_not_evidence_any_more(worker, other, outside, lose):
    jobs: list[Job] = []
    take_over = taken_over(jobs, other, lose)

    def function() -> None:
        take_over()
        resolution.resolve(entry_of(jobs[0]), "abandon", by="a", why="b")

    meanwhile(outside, "charge", function, {"charged": "late"})
    jobs.append(submit(calling("charge")))
    run_once(jobs[0], worker)
    assert entry_of(jobs[0]).state == "abandoned"
    assert drive_with(jobs[0], other).status == "failed"


def test_the_evidence_of_an_attempt_whose_call_was_started_again_by_another_is_refused(
    worker, other, outside, lose
):
    job = submit(calling("notify"))

    def function() -> None:
        lose()
        other.beat()
        outside.after["notify"].append(lambda: {"sent": "second"})
        run_once(job, other)

    meanwhile(outside, "notify", function, {"sent": "first"})
    run_once(job, worker)
    assert (job.status, job.result) == ("completed", {"sent": "second"})
    assert (entry_of(job).result, entry_of(job).attempt) == ({"sent": "second"}, 2)


def test_late_evidence_does_not_settle_a_call_that_a_later_attempt_has_begun_again(
    worker, other, outside, lose
):
    """Attempt 2 has begun the call anew and was lost before it sent: what attempt 1 says is of another request."""
    job = submit(calling("notify"))

    def function() -> None:
        lose()
        other.beat()
        crashed(job, other, CrashPoint.AFTER_INTENT)

    meanwhile(outside, "notify", function, {"sent": "first"})
    run_once(job, worker)
    assert (entry_of(job).state, entry_of(job).attempt) == ("started", 2)
    lose()
    assert drive_with(job, worker).status == "completed"


def test_an_attempt_that_lost_its_step_begins_no_call(worker, other, outside, lose):
    def function(context: Any) -> Any:
        if context.step.attempt == 1:
            lose()
            other.beat()
            claim(job, other)
        return context.tool("charge")

    job = submit(doing(function))
    run_once(job, worker)
    assert (outside.effects(), job.ledger.count()) == ([], 0)
    step_of(job).complete("done by the other")


def test_an_attempt_that_lost_its_step_while_it_asked_begins_the_call_no_second_time(
    worker, other, outside, lose
):
    def asked() -> Absent:
        lose()
        other.beat()
        claim(job, other)
        return Absent()

    job = submit(calling("transfer"))
    crashed(job, worker, CrashPoint.AFTER_CALL)
    lose()
    worker.beat()
    outside.verdicts.append(asked)
    run_once(job, worker)
    assert (len(outside.effects()), entry_of(job).calls) == (1, 1)
    step_of(job).fail({"type": "E", "message": "enough"})


def test_what_an_attempt_learns_after_it_lost_its_step_wakes_the_one_after_it(worker, other, outside, lose):
    def asked() -> Happened:
        lose()
        other.beat()
        assert run_once(job, other).waiting_for == "unknown:transfer#0"
        return Happened({"transferred": 1.0})

    job = submit(calling("transfer"))
    crashed(job, worker, CrashPoint.AFTER_CALL)
    lose()
    worker.beat()
    outside.verdicts.append(asked)
    run_once(job, worker)
    assert drive_with(job, other).result == {"transferred": 1.0}
    assert len(outside.effects()) == 1


def test_an_answer_about_a_call_says_nothing_of_one_that_was_made_since(worker, other, outside, lose):
    def asked() -> Absent:
        lose()
        other.beat()
        outside.verdicts.append(Absent())
        crashed(job, other, CrashPoint.AFTER_CALL)
        lose()
        other.beat()
        assert run_once(job, other).waiting_for == "unknown:transfer#0"
        return Absent()

    job = submit(calling("transfer", retry={"max_attempts": 9}))
    crashed(job, worker, CrashPoint.AFTER_INTENT)
    lose()
    worker.beat()
    outside.verdicts.append(asked)
    run_once(job, worker)
    drive_with(job, other)
    assert (entry_of(job).state, step_of(job).status, len(outside.effects())) == ("unknown", "waiting", 1)


@pytest.mark.parametrize("is_read_again", [False, True])
def test_what_a_person_says_of_a_call_says_nothing_of_one_that_was_made_since(worker, outside, is_read_again):
    outside.after["charge"] += [TimeoutError(), TimeoutError()]
    job = submit(calling("charge"))
    run_once(job, worker)
    looked_at = entry_of(job)
    resolution.resolve(entry_of(job), "absent", by="user:1", why="not in the list")
    assert run_once(job, worker).waiting_for == DOUBT

    late, seen = (entry_of(job), looked_at.attempt) if is_read_again else (looked_at, None)
    with pytest.raises(StaleAttempt):
        resolution.resolve(late, "absent", by="user:2", why="not in the list", attempt=seen)
    assert (entry_of(job).state, step_of(job).status, len(outside.effects())) == ("unknown", "waiting", 2)


def test_a_step_that_waits_for_one_call_is_not_woken_by_what_is_said_of_another(worker, outside):
    def function(context: Any) -> None:
        for name, arguments in (("charge", {}), ("notify", {"to": "ada"})):
            with contextlib.suppress(CallInDoubt):
                context.tool(name, **arguments)

    outside.after["charge"].append(TimeoutError())
    outside.after["notify"].append(TimeoutError())
    job = submit(doing(function))
    run_once(job, worker)
    resolution.resolve(job.ledger.get(call="notify"), "happened", by="user:1", why="found it")
    assert step_of(job).waiting_for == DOUBT
    assert not job.events.filter(type="step_resumed").exists()


def test_a_repeat_that_is_refused_says_nothing_of_the_call_before_it(worker, outside, lose):
    job = submit(calling("notify"))
    crashed(job, worker, CrashPoint.AFTER_CALL)
    lose()
    worker.beat()
    outside.before["notify"].append(Refused("a key that was used"))
    run_once(job, worker)
    assert (entry_of(job).state, len(outside.effects())) == ("unknown", 1)
    assert step_of(job).waiting_for == "unknown:notify#0"


def test_a_job_cancelled_during_a_call_keeps_what_the_call_did(worker, outside):
    job = submit(calling("charge"))
    meanwhile(outside, "charge", lambda: job.cancel(by="ops"), {"charged": 1})
    run_once(job, worker)
    assert (job.status, entry_of(job).state, statuses(job)) == ("cancelled", "committed", {"it": "completed"})


def test_a_job_that_ends_while_a_worker_is_lost_during_a_call_says_that_it_is_not_known(
    worker, outside, lose
):
    job = submit(calling("charge"))
    crashed(job, worker, CrashPoint.AFTER_CALL)
    job.cancel(by="ops")
    lose()
    job.refresh_from_db()
    assert (job.status, entry_of(job).state) == ("cancelled", "unknown")
    assert "tool_unknown" in told(job)


# Keys


def test_the_key_depends_on_tenant_job_step_call_and_generation_alone(worker):
    keys = set()
    for tenant in ("acme", "umbrella"):
        job = submit(doing(lambda context: [context.tool("lookup") for _ in range(2)]), tenant=tenant)
        drive_with(job, worker)
        keys |= set(job.ledger.values_list("idempotency_key", flat=True))
    assert len(keys) == 4


def test_an_entry_is_begun_once_even_when_its_intent_is_sent_twice(worker):
    from runtime.callees import tool_callee
    from runtime.intents import Intent
    from runtime.turn import Turn

    job = submit(calling("charge"))
    step = claim(job, worker)
    intent = Intent.make(
        job.tenant, job.pk, step.pk, step.key, "charge", tool_callee("charge"), {"amount": 1.0}
    )
    answers = []
    for _ in range(2):
        with Turn(job.pk, worker=worker.id) as turn:
            turn.intend(intent.as_operation(step.attempt))
        answers.append(turn.answer["answers"][0]["inserted"])
    assert (answers, LedgerEntry.objects.count()) == ([True, False], 1)
    assert told(job).count("tool_called") == 1


# Models


@pytest.fixture
def model(settings: Any, outside: World) -> World:
    settings.AETHERIS = {
        **settings.AETHERIS,
        "MODEL_CLIENT": "tests.agents_app.world.complete",
        "MODEL_NAME": "m",
    }
    return outside


def asking(**keys: Any) -> Graph:
    graph = Graph()
    graph.llm("it", prompt="Is ${input} good?", **keys)
    return graph


def test_a_models_answer_is_recorded_with_what_it_cost(model, drive):
    job = drive(submit(asking(), "this"))
    assert (job.result, model.requests[0]["messages"][-1]["content"]) == ("yes", "Is this good?")
    assert entry_of(job).usage == {"model": "m", "input_tokens": 3, "output_tokens": 1}
    assert [type for type in told(job) if type.startswith("model")] == ["model_called", "model_returned"]


@pytest.mark.parametrize("point, asked", [(CrashPoint.AFTER_INTENT, 1), (CrashPoint.AFTER_CALL, 2)])
def test_a_model_is_asked_again_after_a_crash_and_its_step_completes(
    point, asked, model, worker, other, lose
):
    job = submit(asking(), "this")
    crashed(job, worker, point)
    lose()
    assert drive_with(job, other).status == "completed"
    assert len(model.requests) == asked


def test_an_answer_that_does_not_fit_its_schema_is_asked_for_again(model, worker, clock):
    model.contents.extend(["nonsense", '{"ok": 1}', '{"ok": true}'])
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    job = submit(asking(schema=schema), "this")
    for _ in range(3):
        drive_with(job, worker)
        clock.forward(hours=1)
    job.refresh_from_db()
    assert (job.status, job.result, len(model.requests)) == ("completed", {"ok": True}, 3)


@pytest.mark.parametrize("odd", [None, "[" * 100_000, '{"ok": NaN}', '{"ok": "\\u0000"}'])
def test_an_answer_that_is_no_value_at_all_is_asked_for_again(odd, model, worker, clock):
    model.contents.extend([odd, '{"ok": true}'])
    job = submit(asking(schema={"type": "object"}), "this")
    drive_with(job, worker)
    clock.forward(hours=1)
    assert drive_with(job, worker).result == {"ok": True}


def test_a_recorded_answer_is_not_asked_for_again(model, worker, other, outside, lose):
    """The late answer of a lost attempt is kept, and its successor uses it."""
    model.contents.extend(["first", "second"])
    job = submit(asking(), "this")
    model.during_answer.append(lose)
    run_once(job, worker)
    assert drive_with(job, other).result == "first"
    assert len(model.requests) == 1


def test_a_step_that_waits_in_doubt_keeps_what_had_woken_it_before(drive, outside):
    def function(context: Any) -> Any:
        if context.resume is None:
            return Waiting("signal", "go")
        return context.tool("charge", amount=context.resume["payload"])

    outside.after["charge"].append(TimeoutError())
    job = drive(submit(doing(function)))
    job.signal("go", 7)
    assert step_of(drive(job)).waiting_for == DOUBT
    resolution.resolve(entry_of(job), "absent", by="a", why="b")
    assert drive(job).result == {"charged": 7}


def test_a_step_cannot_wait_for_something_else_over_a_doubt(worker, outside):
    def function(context: Any) -> Any:
        with contextlib.suppress(CallInDoubt):
            context.tool("charge")
        return Waiting("signal", "go")

    outside.after["charge"].append(TimeoutError())
    assert run_once(submit(doing(function)), worker).waiting_for == DOUBT
