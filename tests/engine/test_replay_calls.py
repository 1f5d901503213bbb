"""Verify over calls that were not simply made: denied, asked for, rejected, or ended by the outside later."""

from collections import Counter

import pytest

from runtime import answers, approvals, recovery, replays
from runtime.exceptions import CallDenied
from runtime.replays import verifying
from tests.engine.driving import calling, doing, entry_of, run_once, step_of, submit
from tools import Failed, Happened, Pending

PAID = {"paid": 5}
GRAPHS = {
    "tool": lambda: calling("payout", amount=5),
    "function": lambda: doing(lambda context: [context.random(), context.tool("payout", amount=5)][1]),
}
both_kinds = pytest.mark.parametrize("kind", GRAPHS)


@pytest.fixture
def rules(settings):
    def rules(**rules):
        settings.AETHERIS = {**settings.AETHERIS, "TOOL_GRANTS": rules}

    return rules


def verified(job, **keys):
    """A verification that found nothing, and changed nothing."""
    before = job.seq
    found = replays.verify(job, **keys)
    assert found.is_good, (found.faults, str(found.first_divergence))
    job.refresh_from_db()
    assert job.seq == before
    return found


# Denied, and asked for


def test_a_step_that_was_denied_a_call_is_left_out_whatever_it_made_of_that(rules, drive, outside):
    def lives_with_it(context):
        try:
            return context.tool("charge", amount=5)
        except CallDenied as denied:
            return str(denied)

    graph = doing(lives_with_it)
    graph.handle("it") >> graph.function("after", "say", value="${it}")
    job = submit(graph)
    rules(charge="deny")
    drive(job)
    assert "charge" in job.result

    rules()  # what the rules are now is not what they were
    found = verified(job)
    assert (found.attempts, found.left_out) == (1, Counter({"not allowed": 1}))
    assert outside.effects() == []


@pytest.mark.parametrize("approve, left_out", [(True, {}), (False, {"not allowed": 1})])
def test_a_call_that_somebody_approved_or_rejected(approve, left_out, rules, drive, outside, boss):
    rules(charge="require_approval")
    job = drive(submit(calling("charge", amount=5)))
    assert verified(job).attempts == 0  # the attempt that asks is the runtime's
    approvals.decide(job, None, approve=approve, user=boss, answer={})
    drive(job)
    sent = len(outside.effects())

    found = verified(job)
    assert (found.attempts, found.effects, dict(found.left_out)) == (int(approve), int(approve), left_out)
    assert len(outside.effects()) == sent == int(approve)


def test_a_step_that_asks_for_each_of_its_calls(rules, drive, boss):
    rules(charge="require_approval")

    def twice(context):
        return [context.tool("lookup"), context.tool("charge", amount=1), context.tool("charge", amount=2)]

    job = drive(submit(doing(twice)))
    for _ in range(2):
        approvals.decide(job, None, approve=True, user=boss, answer={})
        drive(job)
    assert job.status == "completed"
    found = verified(job)
    assert (found.attempts, found.effects) == (1, 3)


# Ended later


@both_kinds
@pytest.mark.parametrize("by", ["poll", "webhook"])
@pytest.mark.parametrize("ended", [Happened(PAID), Failed("account closed")], ids=["happened", "failed"])
def test_a_call_that_the_outside_ended_later(ended, by, kind, drive, outside, clock):
    outside.polls.extend([Pending(), ended])
    job = drive(submit(GRAPHS[kind]()))
    if by == "webhook":
        answers.tell(entry_of(job), ended, source="webhook")
    for _ in range(3):
        clock.forward(minutes=11)
        recovery.wake_due()
        drive(job)
    assert job.status == ("completed" if ended == Happened(PAID) else "failed")
    sent, asked = len(outside.effects()), len(outside.polled)

    found = verified(job)
    assert (found.attempts, found.effects) == (1, 2 if kind == "function" else 1)
    assert (len(outside.effects()), len(outside.polled)) == (sent, asked), "nobody was asked"


@both_kinds
def test_one_that_is_worked_on_still_has_no_end_to_compare(kind, drive):
    job = drive(submit(GRAPHS[kind]()))
    assert step_of(job).status == "waiting"
    assert verified(job).attempts == 0


def test_code_that_asks_a_later_call_for_something_else_is_found(drive):
    amounts = iter([5, 5, 6])
    job = drive(submit(doing(lambda context: context.tool("payout", amount=next(amounts)))))
    answers.tell(entry_of(job), Happened(PAID), source="webhook")
    drive(job)
    found = replays.verify(job).divergence
    assert found is not None
    told = (found.what, '"amount": 5.0' in found.expected, '"amount": 6.0' in found.got)
    assert told == ("effect", True, True), str(found)


# Time


@pytest.fixture
def passing(monkeypatch):
    """The time that verify goes by, moved by hand."""

    class Passing:
        now = 0.0

        @classmethod
        def monotonic(cls):
            return cls.now

    monkeypatch.setattr(verifying, "time", Passing)
    return Passing


def line(*functions):
    graph = doing(functions[0], id="s0")
    for number, function in enumerate(functions[1:], 1):
        more = doing(function, id=f"s{number}")  # puts the function where the step finds it
        assert more.build()["nodes"][0]["function"] == "do"
        graph.handle(f"s{number - 1}") >> graph.function(f"s{number}", "do", what=f"s{number}")
    return graph


def test_what_there_is_no_time_for_is_left_out_and_counted(drive, passing):
    def takes(context):
        passing.now += 10
        return "done"

    job = drive(submit(line(takes, takes, takes, takes)))
    assert verified(job).attempts == 4

    found = verified(job, within=15)
    assert (found.attempts, found.left_out) == (2, Counter({"late": 2}))
    assert verified(job, within=0).attempts == 0


def test_subjobs_share_the_time_of_their_parent(drive, passing):
    def takes(context):
        passing.now += 10
        return "done"

    graph = doing(takes)
    graph.handle("it") >> graph.subjob("sub", "echo", input=1)
    job = submit(graph)
    for _ in range(3):
        drive(job)
        [drive(child) for child in type(job).objects.filter(parent_step__job=job)]
    assert job.status == "completed"
    found = verified(job, within=5)
    assert found.attempts == 1
    assert (found.left_out["late"], found.subjobs[0].left_out["late"]) == (2, 1)


def test_an_attempt_that_is_cut_by_the_end_of_all_time_has_not_diverged(drive, worker, monkeypatch):
    stuck: list[bool] = []

    def hangs(context):
        while stuck:
            pass
        return "done"

    job = submit(doing(hangs))
    run_once(job, worker)
    stuck.append(True)
    found = verified(job, seconds=60, within=0.2)
    assert (found.attempts, found.left_out) == (0, Counter({"late": 1}))
    stopped = replays.verify(job, seconds=0.2).divergence
    assert stopped is not None and stopped.what == "time"
