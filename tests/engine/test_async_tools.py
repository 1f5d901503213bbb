"""Calls that the outside accepts and ends later: submitted once, asked about, told of, and never guessed at."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from runtime import answers, ports, recovery, resolution
from runtime.graph import Graph
from runtime.models import Job
from runtime.outcomes import Waiting
from runtime.ports import Crashed, CrashPoint
from tests.agents_app.world import World
from tests.engine.driving import (
    calling,
    crash_at,
    doing,
    entry_of,
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
from tools import Absent, CannotTell, Failed, Happened, Pending

PAID = {"paid": 5}
TOLD = Happened(PAID)
GRAPHS: dict[str, Callable[[], Any]] = {
    "tool": lambda: calling("payout", amount=5),
    "function": lambda: doing(lambda context: context.tool("payout", amount=5)),
}
both_kinds = pytest.mark.parametrize("kind", GRAPHS)


@pytest.fixture
def poll_later(drive, clock) -> Callable[..., Job]:
    """Time passes, the sweep wakes what is due, and the job goes on."""

    def poll_later(job: Job, **units: float) -> Any:
        clock.forward(**(units or {"minutes": 11}))
        recovery.wake_due()
        return drive(job)

    return poll_later


@pytest.fixture
def lose(clock) -> Callable[[], None]:
    def lose() -> None:
        clock.forward(minutes=1)
        assert recovery.rescue_lost() == 1

    return lose


def tell(job: Job, ended: answers.Ended = TOLD, source: str = "webhook") -> bool:
    return answers.tell(entry_of(job), ended, source=source)


def waits_for_the_outside(job: Job) -> bool:
    step, entry = step_of(job), entry_of(job)
    return (step.status, step.waiting_for, entry.state) == ("waiting", f"call:{entry.call}#0", "accepted")


# Accepted, asked, told


@pytest.mark.pg_slice
@both_kinds
def test_a_call_that_is_accepted_parks_its_step_until_a_poll_says_that_it_happened(
    kind, drive, outside, poll_later
):
    outside.polls.extend([Pending(poll_after=timedelta(minutes=10)), Happened(PAID)])
    job = drive(submit(GRAPHS[kind]()))
    assert waits_for_the_outside(job)
    assert entry_of(job).external_id == "po-1"
    assert waits_for_the_outside(poll_later(job))
    assert poll_later(job).result == PAID
    entry, step = entry_of(job), step_of(job)
    assert (entry.state, entry.source, entry.calls, len(outside.effects())) == ("committed", "poll", 1, 1)
    assert (step.attempt, step.failures, outside.polled) == (3, 0, ["po-1", "po-1"])
    assert told(job, step="it") == [
        "step_claimed", "tool_called", "tool_accepted", "step_parked",
        "timer_fired", "step_resumed", "step_claimed", "step_parked",
        "timer_fired", "step_resumed", "step_claimed", "tool_returned", "step_completed",
    ]  # fmt: skip


@pytest.mark.pg_slice
@both_kinds
def test_a_call_that_is_accepted_goes_on_when_the_outside_tells(kind, drive, outside):
    job = drive(submit(GRAPHS[kind]()))
    assert tell(job)
    assert drive(job).result == PAID
    assert (entry_of(job).source, outside.polled, len(outside.effects())) == ("webhook", [], 1)


def test_it_is_not_asked_before_its_time(drive, outside, clock):
    job = drive(submit(calling("payout")))
    clock.forward(minutes=9)
    assert (recovery.wake_due(), drive(job).status, outside.polled) == (0, "waiting", [])


def test_one_that_tells_by_itself_is_not_asked_and_its_time_ends_in_doubt(drive, outside, poll_later):
    job = drive(submit(calling("ship")))
    assert waits_for_the_outside(poll_later(job, hours=47))
    assert step_of(job).attempt == 1
    poll_later(job, hours=2)
    assert (entry_of(job).state, step_of(job).waiting_for) == ("unknown", "unknown:ship#0")
    assert "nothing was heard" in job.waits.get(closed_at=None).prompt
    assert tell(job, Happened({"shipped": True}))
    assert (drive(job).result, len(outside.effects())) == ({"shipped": True}, 1)


def test_what_had_woken_the_step_before_is_kept_over_the_call(drive, outside, poll_later):
    def function(context: Any) -> Any:
        if context.resume is None:
            return Waiting("signal", "go")
        return [context.resume["payload"], context.tool("payout")]

    job = drive(submit(doing(function)))
    job.signal("go", 7)
    assert waits_for_the_outside(drive(job))
    poll_later(job)
    tell(job)
    assert drive(job).result == [7, PAID]


def test_a_step_that_swallows_it_waits_all_the_same(drive, outside):
    def function(context: Any) -> Any:
        try:
            return context.tool("payout")
        except Exception:
            return "plan b"

    job = drive(submit(doing(function)))
    assert waits_for_the_outside(job)
    tell(job)
    assert drive(job).result == PAID


def test_calls_of_many_items_are_out_at_the_same_time(drive, outside):
    graph = Graph()
    inner = Graph()
    inner.tool("pay", "payout", amount="${item}")
    graph.map("all", "${input}", inner)
    job = drive(submit(graph, [1.0, 2.0, 3.0]))
    entries = list(job.ledger.all())
    assert [entry.state for entry in entries] == ["accepted"] * 3
    for entry in reversed(entries):
        assert answers.tell(entry, Happened(entry.arguments["amount"]), source="webhook")
    assert drive(job).status == "completed"
    assert len(outside.effects()) == 3


# The answer before the answer


def meanwhile(outside: World, job_of: list[Job], ended: answers.Ended, answer: Any) -> None:
    def behaviour() -> Any:
        assert tell(job_of[0], ended)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    outside.after["payout"].append(behaviour)


@pytest.mark.pg_slice
@both_kinds
@pytest.mark.parametrize(
    "answer", [Pending("po-1"), {"paid": "as the call says"}, ConnectionResetError("no answer")]
)
def test_the_outside_tells_before_the_submit_is_answered(kind, answer, worker, outside):
    jobs: list[Job] = []
    meanwhile(outside, jobs, Happened(PAID), answer)
    jobs.append(submit(GRAPHS[kind]()))
    run_once(jobs[0], worker)
    entry = entry_of(jobs[0])
    assert (jobs[0].status, jobs[0].result, entry.result, entry.source) == (
        "completed",
        PAID,
        PAID,
        "webhook",
    )
    assert (step_of(jobs[0]).attempt, len(outside.effects()), outside.polled) == (1, 1, [])


@both_kinds
def test_it_fails_outside_before_the_submit_is_answered(kind, worker, outside):
    jobs: list[Job] = []
    meanwhile(outside, jobs, Failed("no such account"), Pending("po-1"))
    jobs.append(submit(GRAPHS[kind]()))
    run_once(jobs[0], worker)
    assert (jobs[0].status, entry_of(jobs[0]).state, len(outside.effects())) == ("failed", "failed", 1)
    assert why(jobs[0])["message"] == "no such account"


@both_kinds
def test_the_outside_tells_between_the_acceptance_and_the_park(kind, drive, worker, outside):
    """A wait that nobody will end any more must not be begun."""
    job = submit(GRAPHS[kind]())

    def hook(point: CrashPoint) -> None:
        if point is CrashPoint.BEFORE_RECORD and entry_of(job).state == "accepted":
            tell(job)

    ports.crash_hook = hook
    assert drive(job).result == PAID
    assert (len(outside.effects()), outside.polled) == (1, [])
    assert job.waits.get().outcome == "resolved"


def test_a_person_settles_a_doubt_between_the_doubt_and_the_park(drive, worker, outside):
    outside.after["charge"].append(TimeoutError("no answer"))
    job = submit(doing(lambda context: context.tool("charge")))

    def hook(point: CrashPoint) -> None:
        if point is CrashPoint.BEFORE_RECORD and entry_of(job).state == "unknown":
            resolution.resolve(entry_of(job), "happened", by="user:1", why="seen", result=PAID)

    ports.crash_hook = hook
    assert drive(job).result == PAID


# Crashes


@pytest.mark.pg_slice
@both_kinds
@pytest.mark.parametrize(
    "point, sent, state",
    [
        (CrashPoint.BEFORE_INTENT, 0, None),
        (CrashPoint.AFTER_INTENT, 0, "unknown"),
        (CrashPoint.AFTER_CALL, 1, "unknown"),
        (CrashPoint.AFTER_ACCEPT, 1, "accepted"),
        (CrashPoint.BEFORE_RECORD, 1, "accepted"),
    ],
)
def test_a_submit_is_never_made_twice_wherever_its_worker_was_lost(
    point, sent, state, kind, worker, other, outside, lose
):
    job = submit(GRAPHS[kind]())
    with crash_at(point):
        run_once(job, worker)
    assert len(outside.effects()) == sent
    lose()
    drive_with(job, other)
    if state is None:
        assert waits_for_the_outside(job)
        return
    assert (entry_of(job).state, len(outside.effects())) == (state, sent)
    assert step_of(job).waiting_for == ("call:payout#0" if state == "accepted" else "unknown:payout#0")
    tell(job)
    assert drive_with(job, other).result == PAID
    assert len(outside.effects()) == sent


def test_a_worker_that_is_lost_while_it_asks_has_asked_nothing(
    worker, other, outside, lose, poll_later, clock
):
    job = submit(calling("payout"))
    run_once(job, worker)

    def crash() -> Any:
        raise Crashed("in the poll")

    outside.polls.extend([crash, Happened(PAID)])
    clock.forward(minutes=11)
    assert recovery.wake_due() == 1
    worker.beat()
    with pytest.raises(Crashed):
        run_once(job, worker)
    lose()
    assert drive_with(job, other).result == PAID
    assert (len(outside.effects()), len(outside.polled)) == (1, 2)


def test_a_submit_whose_answer_was_lost_is_asked_for_and_found_to_be_worked_on(
    worker, other, outside, lose, poll_later
):
    outside.verdicts.append(Pending("po-9", poll_after=timedelta(minutes=10)))
    job = submit(calling("payout"))
    with crash_at(CrashPoint.AFTER_CALL):
        run_once(job, worker)
    lose()
    drive_with(job, other)
    assert waits_for_the_outside(job)
    assert entry_of(job).external_id == "po-9"
    outside.polls.append(Happened(PAID))
    other.beat()
    assert poll_later(job).result == PAID
    assert (outside.polled, len(outside.effects())) == (["po-9"], 1)


def test_a_submit_of_a_lost_worker_that_is_answered_late_is_accepted_all_the_same(
    worker, other, outside, lose
):
    jobs: list[Job] = []

    def taken_over() -> Any:
        lose()
        other.beat()
        run_once(jobs[0], other)
        assert step_of(jobs[0]).waiting_for == "unknown:payout#0"
        return Pending("po-1", poll_after=timedelta(minutes=10))

    outside.after["payout"].append(taken_over)
    jobs.append(submit(calling("payout")))
    run_once(jobs[0], worker)
    assert (entry_of(jobs[0]).state, statuses(jobs[0])) == ("accepted", {"it": "ready"})
    drive_with(jobs[0], other)
    assert waits_for_the_outside(jobs[0])


# Polls that fail, and time that ends


def test_a_poll_that_fails_is_asked_again_with_growing_pauses_and_costs_no_attempt(
    drive, outside, poll_later, clock, settings
):
    settings.AETHERIS = {**settings.AETHERIS, "BACKOFF_SECONDS": 60.0, "BACKOFF_CAP_SECONDS": 3600.0}
    outside.polls.extend([ConnectionError("down")] * 7)
    job = drive(submit(calling("payout", retry={"max_attempts": 2})))
    pauses = []
    for _ in range(7):
        poll_later(job, hours=2)
        wait = job.waits.get(closed_at=None)
        assert wait.deadline_at is not None
        pauses.append((wait.deadline_at - wait.opened_at).total_seconds())
    assert all(30 * 2**n <= pause <= 60 * 2**n for n, pause in enumerate(pauses[:6]))
    assert (entry_of(job).poll_errors, step_of(job).failures) == (7, 0)
    assert entry_of(job).error == {"type": "ConnectionError", "message": "down"}
    outside.polls.append(Happened(PAID))
    assert poll_later(job, hours=2).result == PAID
    assert len(outside.effects()) == 1


def test_a_poll_that_answers_nonsense_is_a_poll_that_failed(drive, outside, poll_later):
    outside.polls.extend([{"status": "paid"}, Happened(object())])
    job = drive(submit(calling("payout")))
    for _ in range(2):
        assert waits_for_the_outside(poll_later(job, hours=1))
    assert entry_of(job).poll_errors == 2


@pytest.mark.parametrize("last", [Pending(), ConnectionError("down")])
def test_after_its_time_it_is_not_known_and_not_submitted_again(last, drive, outside, poll_later):
    outside.after["payout"].append(lambda: Pending("po-1", timeout=timedelta(minutes=5)))
    outside.polls.append(last)
    job = drive(submit(calling("payout")))
    poll_later(job, minutes=6)
    assert (entry_of(job).state, step_of(job).waiting_for) == ("unknown", "unknown:payout#0")
    assert (len(outside.polled), len(outside.effects())) == (1, 1)


def test_after_its_time_the_outside_is_asked_whether_it_happened(drive, outside, poll_later):
    outside.after["payout"].append(lambda: Pending("po-1", timeout=timedelta(minutes=5)))
    outside.verdicts.append(Happened(PAID))
    job = drive(submit(calling("payout")))
    assert poll_later(job, minutes=6).result == PAID
    assert (entry_of(job).source, len(outside.effects())) == ("verify", 1)


def test_after_its_time_an_outside_that_still_works_on_it_leaves_it_to_a_person(drive, outside, poll_later):
    outside.after["payout"].append(lambda: Pending("po-1", timeout=timedelta(minutes=5)))
    outside.verdicts.append(Pending("po-1"))
    job = drive(submit(calling("payout")))
    poll_later(job, minutes=6)
    assert step_of(job).waiting_for == "unknown:payout#0"


def test_a_person_who_says_that_it_did_not_happen_submits_it_with_the_same_key(drive, outside, poll_later):
    outside.after["payout"].append(lambda: Pending("po-1", timeout=timedelta(minutes=5)))
    job = drive(submit(calling("payout")))
    poll_later(job, minutes=6)
    resolution.resolve(entry_of(job), "absent", by="user:1", why="not in their list")
    assert waits_for_the_outside(drive(job))
    assert len({call.key for call in outside.effects()}) == 1
    tell(job)
    assert drive(job).result == PAID


def test_an_outside_that_never_had_it_and_will_refuse_it_is_submitted_to_under_a_new_key(
    drive, outside, poll_later
):
    outside.after["payout"].append(lambda: Pending("po-1", timeout=timedelta(minutes=5)))
    outside.verdicts.append(Absent(fencing=True))
    job = drive(submit(calling("payout")))
    poll_later(job, minutes=6)
    assert [entry.state for entry in job.ledger.all()] == ["failed", "accepted"]
    assert len({call.key for call in outside.effects()}) == 2


# It fails outside


@pytest.mark.pg_slice
@both_kinds
@pytest.mark.parametrize("by", ["poll", "webhook"])
def test_a_call_that_fails_outside_fails_its_step(by, kind, drive, outside, poll_later):
    job = drive(submit(GRAPHS[kind]()))
    if by == "poll":
        outside.polls.append(Failed("account closed"))
    else:
        tell(job, Failed("account closed"))
    poll_later(job)
    assert (job.status, why(job)["message"], entry_of(job).state) == ("failed", "account closed", "failed")
    assert (entry_of(job).source, len(outside.effects())) == (by, 1)


@both_kinds
def test_one_that_may_be_tried_again_is_submitted_under_a_new_key_after_a_pause(
    kind, drive, outside, poll_later, clock
):
    job = drive(submit(GRAPHS[kind]()))
    tell(job, Failed("try later", retry=True))
    drive(job)
    step = step_of(job)
    assert (step.status, step.failures, len(outside.effects())) == ("ready", 1, 1)
    assert step.run_after is not None
    clock.forward(minutes=1)
    drive(job)
    assert (entry_of(job).state, entry_of(job, generation=1).state) == ("failed", "accepted")
    assert answers.tell(entry_of(job, generation=1), Happened(PAID), source="webhook")
    assert drive(job).result == PAID
    assert len({call.key for call in outside.effects()}) == 2


def test_one_that_always_fails_ends_with_the_last_attempt(drive, outside, clock):
    job = drive(submit(calling("payout", retry={"max_attempts": 3})))
    for generation in range(3):
        answers.tell(entry_of(job, generation=generation), Failed("try later", retry=True), source="webhook")
        drive(job)
        clock.forward(hours=1)
        drive(job)
    assert (job.status, len(outside.effects())) == ("failed", 3)


def test_a_retried_job_submits_anew_what_had_failed_outside(drive, outside):
    job = drive(submit(calling("payout")))
    tell(job, Failed("account closed"))
    assert drive(job).status == "failed"
    job.retry(by="user:1", why="account reopened")
    drive(job)
    assert [entry.state for entry in job.ledger.all()] == ["failed", "accepted"]
    answers.tell(entry_of(job, generation=1), Happened(PAID), source="webhook")
    assert drive(job).result == PAID


# Jobs that end or stand still meanwhile


@pytest.mark.pg_slice
def test_what_the_outside_works_on_when_the_job_is_cancelled_is_in_doubt_until_it_tells(drive, outside):
    job = drive(submit(calling("payout")))
    job.cancel(by="user:1")
    assert (job.status, entry_of(job).state) == ("cancelled", "unknown")
    assert tell(job)
    assert (entry_of(job).state, statuses(job)) == ("committed", {"it": "cancelled"})


def test_a_paused_job_is_told_and_goes_on_when_it_is_resumed(drive, outside):
    job = drive(submit(calling("payout")))
    job.pause()
    assert tell(job)
    drive(job)
    assert (entry_of(job).state, statuses(job)) == ("committed", {"it": "ready"})
    job.resume()
    assert drive(job).result == PAID


def test_a_retried_job_asks_about_what_its_cancelled_step_had_submitted(worker, drive, outside, poll_later):
    """Its sibling failed while the outside was at work: the entry is in doubt, and the outside can be asked."""
    graph = Graph()
    graph.tool("it", "payout")
    graph.function("beside", "do", what="beside")
    outside.doings["beside"] = lambda context: context.fail_now()
    job = submit(graph)
    run_once(job, worker)
    while step_of(job, "beside").status != "failed":
        poll_later(job, hours=1)
    assert entry_of(job).state == "unknown"
    outside.doings["beside"] = lambda context: "mended"
    outside.polls.clear()
    outside.polls.append(Happened(PAID))
    job.retry(by="user:1", why="mended")
    assert drive(job).status == "completed"
    assert (entry_of(job).source, len(outside.effects())) == ("verify", 1)


def test_told_twice_it_happened_once(drive, outside):
    job = drive(submit(calling("payout")))
    assert (tell(job), tell(job), tell(job, Failed("no"))) == (True, False, False)
    assert drive(job).result == PAID
    assert told(job).count("tool_returned") == 1


def test_a_tool_that_cannot_tell_either_leaves_it_to_a_person(worker, other, outside, lose):
    outside.verdicts.append(CannotTell())
    job = submit(calling("payout"))
    with crash_at(CrashPoint.AFTER_CALL):
        run_once(job, worker)
    lose()
    drive_with(job, other)
    assert step_of(job).waiting_for == "unknown:payout#0"
