"""Compensation: what an ending job did outside is undone, the last call first, before the job has ended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings

import tools.registry
from runtime import answers, doctor, forks, replays
from runtime.checks import check_compensations
from runtime.exceptions import RetryRefused, StaleAttempt
from runtime.graph import Graph, GraphInvalid
from runtime.incarnation import Incarnation
from runtime.models import Job, LedgerEntry, Step
from runtime.ports import CrashPoint
from runtime.resolution import resolve
from tests.agents_app.world import World, world
from tests.engine.driving import (
    calling,
    claim,
    crash_at,
    entry_of,
    run_once,
    statuses,
    step_of,
    submit,
    told,
    why,
)
from tests.engine.driving import drive as drive_with
from tests.engine.scoped import failing_for, mapping
from tests.healthy import nothing_is_broken
from tools import Absent, CannotTell, Compensation, Happened, NotSent, Refused


def trip(*, compensate: Any = "on_failure", places: str = "abc") -> Graph:
    """Reserves each place, one after another, and then fails."""
    graph = Graph(compensate=compensate)
    line = [graph.tool(place, "reserve", what=place) for place in places]
    failing_for("x")
    line.append(graph.function("last", "do", what="fail for", value="x"))
    for before, after in pairwise(line):
        before >> after
    return graph


@contextmanager
def run_only() -> Iterator[None]:
    """A worker hands the job back after each step."""
    with override_settings(AETHERIS={**settings.AETHERIS, "KEEP_JOB_SECONDS": 0}):
        yield


def released(outside: World) -> list[str]:
    return [call.arguments["what"] for call in outside.effects("release")]


def entries(job: Job) -> dict[str, str]:
    return dict(LedgerEntry.objects.filter(job=job).order_by("id").values_list("step__key", "state"))


@pytest.mark.pg_slice
def test_what_a_failed_job_did_is_undone_the_last_call_first(drive, outside):
    job = drive(submit(trip()))
    assert job.status == "failed"
    assert (why(job)["step"], why(job)["type"]) == ("last", "Permanent")
    assert released(outside) == ["c", "b", "a"]
    assert {state for key, state in entries(job).items() if key in "abc"} == {"compensated"}
    assert statuses(job)["undo:c:reserve"] == "completed"


def test_each_undoing_call_has_an_entry_and_a_key_of_its_own(drive, outside):
    job = drive(submit(trip()))
    keys = {call.key for call in outside.calls}
    assert len(keys) == len(outside.calls) == 6
    assert entry_of(job, "undo:a:reserve").arguments == {"what": "a"}


def test_the_events_tell_of_it_and_the_end_comes_last(drive, outside):
    job = drive(submit(trip(places="a")))
    assert told(job)[-7:] == [
        "compensation_planned",
        "step_claimed",
        "tool_called",
        "tool_returned",
        "step_compensated",
        "step_completed",
        "job_failed",
    ]
    assert job.events.get(type="compensation_planned").data == {
        "ending_as": "failed",
        "steps": ["undo:a:reserve"],
    }


@pytest.mark.parametrize(
    "says, on_failure, on_cancel",
    [(None, False, False), ("on_failure", True, False), ("on_cancel", False, True), ("always", True, True)],
)
def test_the_graph_says_when(says, on_failure, on_cancel, drive, outside):
    assert drive(submit(trip(compensate=says, places="a"))).status == "failed"
    assert released(outside) == ["a"] * on_failure
    graph = trip(compensate=says, places="b")
    graph.handle("b") >> graph.wait("pause", signal="go") >> graph.handle("last")
    job = drive(submit(graph))
    job.cancel()
    assert drive(job).status == "cancelled"
    assert released(outside) == ["a"] * on_failure + ["b"] * on_cancel


def test_a_job_that_completes_keeps_what_it_did(drive, outside):
    graph = Graph(compensate="always")
    graph.tool("a", "reserve", what="a")
    assert drive(submit(graph)).status == "completed"
    assert released(outside) == []


def test_a_job_whose_calls_were_undone_is_not_retried(drive, outside):
    job = drive(submit(trip()))
    with pytest.raises(RetryRefused, match="was undone"):
        job.retry()


# What is undone, and what is not


def test_a_call_that_was_refused_is_not_undone(drive, outside):
    outside.before["reserve"].extend([lambda: {"reserved": "a"}, Refused("full")])
    job = drive(submit(trip(places="ab")))
    assert job.status == "failed"
    assert entries(job) == {"a": "compensated", "b": "refused", "undo:a:reserve": "committed"}
    assert released(outside) == ["a"]


def test_a_node_says_otherwise_than_its_tool(drive, outside):
    graph = Graph(compensate="on_failure")
    kept = graph.tool("kept", "reserve", what="kept", compensate=False)
    paid = graph.tool(
        "paid", "charge", amount=2.0, compensate=Compensation("notify", {"to": "${input}: ${result.charged}"})
    )
    failing_for("x")
    kept >> paid >> graph.function("last", "do", what="fail for", value="x")
    job = drive(submit(graph, "ada"))
    assert entries(job) == {"kept": "committed", "paid": "compensated", "undo:paid:charge": "committed"}
    assert [call.arguments for call in outside.effects("notify")] == [{"to": "ada: 2.0"}]


def test_the_calls_of_a_step_function_are_undone_as_their_tools_say(drive, outside):
    def book(context: Any) -> None:
        context.tool("reserve", what="a")
        context.tool("reserve", what="b")
        raise Refused("neither")

    world.doings["it"] = book
    graph = Graph(compensate="on_failure")
    graph.function("it", "do", what="it", retry={"max_attempts": 1})
    job = drive(submit(graph))
    assert (job.status, released(outside)) == ("failed", ["b", "a"])
    assert "undo:it:reserve.1" in statuses(job)


def test_calls_in_the_copies_of_a_map_are_undone(drive, outside):
    inner = Graph()
    failing_for(2)
    inner.tool("take", "reserve", what="item ${item}") >> inner.function(
        "it", "do", what="fail for", value="${item}"
    )
    graph = mapping(inner, max_parallel=1)
    job = drive(submit({**graph.build(), "compensate": "on_failure"}, [0, 1, 2, 3]))
    assert job.status == "failed"
    assert released(outside) == ["item 2", "item 1", "item 0"]


def test_a_job_of_which_nothing_is_to_be_undone_just_ends_and_can_be_retried(drive, outside):
    failing_for("x")
    graph = Graph(compensate="always")
    graph.tool("a", "charge") >> graph.function("last", "do", what="fail for", value="x")
    job = drive(submit(graph))
    assert "compensation_planned" not in told(job)
    failing_for()
    job.retry()
    assert drive(job).status == "completed"


def test_a_job_whose_result_has_no_value_has_failed_and_is_undone(drive, outside):
    graph = Graph(compensate="on_failure")
    graph.tool("a", "reserve", what="a")
    graph.result("${a.nothing + 1}")
    job = drive(submit(graph))
    assert (job.status, why(job)["type"], released(outside)) == ("failed", "ResultFailed", ["a"])


def test_a_fork_does_not_undo_what_its_origin_did(drive, outside):
    job = drive(submit(trip(compensate="on_cancel", places="a")))
    fork = drive(job.fork("last"))
    assert fork.status == "failed"
    fork = job.fork("last")
    fork.cancel()
    assert (drive(fork).status, released(outside)) == ("cancelled", [])


def test_a_fork_of_a_job_that_was_undone_does_again_what_was_undone(drive, outside):
    graph = Graph(compensate="on_failure")
    failing_for("x")
    seen = graph.tool("seen", "lookup")
    seen >> graph.tool("a", "reserve", what="a") >> graph.function("last", "do", what="fail for", value="x")
    job = drive(submit(graph))
    failing_for()
    planned = forks.plan(job, "last")
    assert (planned.copied, planned.again, planned.effects) == (["seen"], ["a", "last"], [])
    fork = drive(job.fork("last"))
    assert (fork.status, attempts_of(fork)) == ("completed", {"seen": 0, "a": 1, "last": 1})


def attempts_of(job: Job) -> dict[str, int]:
    return dict(job.steps.values_list("key", "attempt"))


# In doubt


def doubtful(worker: Incarnation, drive: Callable[[Job], Job], outside: World, tool: str) -> Job:
    """A job that was cancelled while it waited in doubt about its call, after another that went well."""
    graph = Graph(compensate="always")
    undo = Compensation("release", {"what": "no. ${arguments.amount}"})
    graph.tool("a", "reserve", what="a") >> graph.tool("b", tool, amount=1.0, compensate=undo)
    outside.after[tool].append(ConnectionResetError("lost"))
    job = drive(submit(graph))
    job.cancel()
    nothing_is_broken()
    return drive(job)


def test_a_call_in_doubt_is_resolved_before_anything_is_undone(worker, drive, outside):
    job = doubtful(worker, drive, outside, "charge")
    assert (job.status, released(outside)) == ("waiting", [])
    assert step_of(job, "undo:b:charge").waiting_for == "unknown:charge#0"
    resolve(entry_of(job, "b"), "happened", by="ada", why="seen", result={"charged": 1.0})
    assert drive(job).status == "cancelled"
    assert released(outside) == ["no. 1.0", "a"]


@pytest.mark.parametrize("verdict", ["absent", "abandon"])
def test_what_did_not_happen_or_is_abandoned_is_not_undone(verdict, worker, drive, outside):
    job = doubtful(worker, drive, outside, "charge")
    resolve(entry_of(job, "b"), verdict, by="ada", why="seen")
    assert drive(job).status == "cancelled"
    assert released(outside) == ["a"]


@pytest.mark.parametrize(
    "verdict, expected",
    [(Happened({"transferred": 1.0}), ["no. 1.0", "a"]), (Absent(fencing=True), ["a"])],
)
def test_verify_settles_the_doubt_by_itself(verdict, expected, worker, drive, outside):
    graph = Graph(compensate="always")
    undo = Compensation("release", {"what": "no. ${arguments.amount}"})
    failing_for("x")
    graph.tool("a", "reserve", what="a") >> graph.tool("b", "transfer", amount=1.0, compensate=undo)
    job = submit(graph)
    with crash_at(CrashPoint.AFTER_CALL, time=2):
        run_once(job, worker, "a")
    job.cancel()
    step_of(job, "b").rescue()
    outside.verdicts.append(verdict)
    assert drive(job).status == "cancelled"
    assert released(outside) == expected
    assert len(outside.effects("transfer")) == 1


def test_without_a_fence_absence_is_believed_when_the_time_to_send_is_over(worker, drive, outside, clock):
    outside.verdicts.extend([Absent(), Absent()])
    undo = Compensation("release", {"what": "it"})
    job = submit({**calling("transfer", amount=1.0, compensate=undo).build(), "compensate": "always"})
    with crash_at(CrashPoint.AFTER_CALL):
        run_once(job, worker)
    job.cancel()
    step_of(job, "it").rescue()
    assert (drive(job).status, entry_of(job).state) == ("running", "unknown")
    clock.forward(seconds=40)
    assert (drive(job).status, entry_of(job).state, released(outside)) == ("cancelled", "refused", [])


def test_a_doubt_that_is_settled_while_the_step_looks_at_it_leaves_nobody_waiting(worker, drive, outside):
    graph = Graph(compensate="always")
    undo = Compensation("release", {"what": "no. ${arguments.amount}"})
    graph.tool("b", "transfer", amount=1.0, compensate=undo)
    outside.after["transfer"].append(ConnectionResetError("lost"))
    job = drive(submit(graph))
    job.cancel()

    def meanwhile() -> Any:
        resolve(entry_of(job, "b"), "happened", by="ada", why="seen", result={"transferred": 1.0})
        return CannotTell()

    outside.verdicts.append(meanwhile)
    job = drive(job)
    assert (job.status, released(outside)) == ("cancelled", ["no. 1.0"])


def test_an_outside_that_tells_by_itself_while_it_is_asked_loses_no_time(worker, drive, outside):
    undo = Compensation("release", {"what": "no. ${arguments.amount}"})
    outside.after["transfer"].append(ConnectionResetError("lost"))
    job = drive(
        submit({**calling("transfer", id="b", amount=1.0, compensate=undo).build(), "compensate": "always"})
    )
    job.cancel()

    def meanwhile() -> Any:
        told_by = answers.tell(entry_of(job, "b"), Happened({"transferred": 1.0}), source="webhook")
        assert told_by
        return Happened({"transferred": 1.0})

    outside.verdicts.append(meanwhile)
    job = drive(job)
    assert (job.status, released(outside)) == ("cancelled", ["no. 1.0"])
    assert (entry_of(job, "b").source, step_of(job, "undo:b:transfer").attempt) == ("webhook", 1)


# A compensation that does not go well


def test_it_is_tried_again_for_as_long_as_it_takes(drive, outside, clock):
    outside.before["release"].extend([NotSent("away")] * 30)
    job = drive(submit(trip(places="a")))
    for _ in range(30):
        assert (job.status, step_of(job, "undo:a:reserve").status) == ("running", "ready")
        clock.forward(seconds=301)
        job = drive(job)
    assert (job.status, released(outside)) == ("failed", ["a"])
    assert step_of(job, "undo:a:reserve").failures == 30


@pytest.fixture
def refused(drive: Callable[[Job], Job], outside: World) -> Job:
    """Its first compensation was refused for good."""
    outside.before["release"].append(Refused("too late"))
    job = drive(submit(trip(places="ab")))
    assert (job.status, released(outside)) == ("waiting", [])
    assert step_of(job, "undo:b:reserve").waiting_for == "refused:release"
    assert [entry.step.key for entry in LedgerEntry.objects.undecided()] == ["b"]
    nothing_is_broken()
    return job


def test_a_person_says_that_it_was_undone_by_hand(refused, drive, outside):
    resolve(entry_of(refused, "b"), "undone", by="ada", why="by telephone")
    job = drive(refused)
    assert (job.status, released(outside)) == ("failed", ["a"])
    assert entry_of(job, "b").state == "compensated"
    assert entry_of(job, "b").resolved_why == "by telephone"


def test_a_person_lets_it_be_tried_again(refused, drive, outside):
    resolve(entry_of(refused, "b"), "again", by="ada", why="they are open now")
    job = drive(refused)
    assert (job.status, released(outside)) == ("failed", ["b", "a"])
    assert entry_of(job, "undo:b:reserve").calls == 2


def test_a_person_gives_it_up_and_the_others_are_undone(refused, drive, outside):
    resolve(entry_of(refused, "b"), "abandon", by="ada", why="not worth it")
    job = drive(refused)
    assert (job.status, released(outside)) == ("failed", ["a"])
    assert entries(job)["b"] == "committed"
    assert step_of(job, "undo:b:reserve").branch == "abandoned"
    event = job.events.filter(type="operator_acted").get()
    assert event.data == {"by": "ada", "verb": "abandon"}


def test_a_worker_that_does_not_have_the_tool_asks_a_person_rather_than_trying_for_ever(
    drive, outside, monkeypatch
):
    job = submit(trip(places="a"))
    with monkeypatch.context() as without:
        without.delitem(tools.registry._tools, "release")
        job = drive(job)
        undoing = step_of(job, "undo:a:reserve")
        assert (job.status, undoing.waiting_for, undoing.attempt) == ("waiting", "refused:release", 1)
        assert "No tool is named 'release'" in job.waits.get().prompt
        nothing_is_broken()
    resolve(entry_of(job, "a"), "again", by="ada", why="the release is complete now")
    assert (drive(job).status, released(outside)) == ("failed", ["a"])


def test_a_worker_that_does_not_have_the_tool_of_a_call_in_doubt_asks_a_person(drive, outside, monkeypatch):
    undo = Compensation("release", {"what": "it"})
    job = submit({**calling("transfer", amount=1.0, compensate=undo).build(), "compensate": "always"})
    outside.after["transfer"].append(ConnectionResetError("lost"))
    outside.verdicts.append(CannotTell())
    job = drive(job)
    job.cancel()
    with monkeypatch.context() as without:
        without.delitem(tools.registry._tools, "transfer")
        assert drive(job).status == "waiting"
        assert step_of(job, "undo:it:transfer").waiting_for == "unknown:transfer#0"
        nothing_is_broken()
    resolve(entry_of(job, "it"), "happened", by="ada", why="seen", result={"transferred": 1.0})
    assert (drive(job).status, released(outside)) == ("cancelled", ["it"])


def test_what_is_not_refused_cannot_be_given_up(refused, drive, outside):
    with pytest.raises(StaleAttempt):
        resolve(entry_of(refused, "a"), "abandon", by="ada", why="no")
    with pytest.raises(StaleAttempt, match="not in doubt"):
        resolve(entry_of(refused, "b"), "happened", by="ada", why="no")
    resolve(entry_of(refused, "b"), "undone", by="ada", why="by telephone")
    with pytest.raises(StaleAttempt):
        resolve(entry_of(refused, "b"), "again", by="ada", why="no")
    drive(refused)


def test_undone_by_hand_is_heard_also_while_it_is_tried_again(drive, outside, clock):
    outside.before["release"].append(NotSent("away"))
    job = drive(submit(trip(places="a")))
    resolve(entry_of(job, "a"), "undone", by="ada", why="by telephone")
    clock.forward(minutes=6)
    job = drive(job)
    assert (job.status, released(outside)) == ("failed", [])


def test_an_undoing_call_in_doubt_waits_for_a_person_too(drive, outside):
    outside.after["release"].append(ConnectionResetError("lost"))
    job = drive(submit(trip(places="ab")))
    assert (job.status, released(outside)) == ("waiting", ["b"])
    resolve(entry_of(job, "undo:b:reserve"), "happened", by="ada", why="seen", result={})
    job = drive(job)
    assert (job.status, released(outside)) == ("failed", ["b", "a"])
    assert entry_of(job, "b").state == "compensated"


def test_abandoning_an_undoing_call_in_doubt_gives_that_one_up(drive, outside):
    outside.after["release"].append(ConnectionResetError("lost"))
    job = drive(submit(trip(places="ab")))
    resolve(entry_of(job, "undo:b:reserve"), "abandon", by="ada", why="whatever")
    job = drive(job)
    assert (job.status, released(outside)) == ("failed", ["b", "a"])
    assert entry_of(job, "b").state == "committed"


def test_a_template_that_has_no_value_waits_for_a_person(drive, outside):
    undo = Compensation("release", {"what": "${result.nothing.at_all}"})
    graph = Graph(compensate="on_failure")
    failing_for("x")
    graph.tool("a", "reserve", what="a", compensate=undo) >> graph.function(
        "last", "do", what="fail for", value="x"
    )
    job = drive(submit(graph))
    assert (job.status, step_of(job, "undo:a:reserve").waiting_for) == ("waiting", "refused:release")
    assert "nothing" in job.waits.open().get().prompt
    resolve(entry_of(job, "a"), "undone", by="ada", why="by telephone")
    assert drive(job).status == "failed"


# Cancel, pause and crashes


def test_a_cancel_while_it_is_undone_changes_nothing(worker, drive, outside):
    job = submit(trip(places="ab"))
    with crash_at(CrashPoint.AFTER_CLAIM, time=4):
        run_once(job, worker, "a")
    job.refresh_from_db()
    assert job.compensating_at is not None
    job.cancel()
    job.cancel()
    step_of(job, "undo:b:reserve").rescue()
    job = drive(job)
    assert (job.status, released(outside)) == ("failed", ["b", "a"])


def test_a_pause_holds_it_and_a_cancel_of_a_paused_job_begins_it(worker, drive, outside):
    graph = Graph(compensate="on_cancel")
    graph.tool("a", "reserve", what="a") >> graph.wait("pause", signal="go")
    job = drive(submit(graph))
    job.pause()
    job.cancel()
    assert job.paused_at is None
    job.pause()
    assert (drive(job).status, released(outside)) == ("running", [])
    job.resume()
    assert (drive(job).status, released(outside)) == ("cancelled", ["a"])


def test_it_waits_for_the_steps_that_run(worker, other, drive, outside):
    graph = Graph(compensate="on_cancel")
    graph.tool("a", "reserve", what="a")
    graph.tool("b", "reserve", what="b")
    job = submit(graph)
    run_alone_b = claim(job, worker, "b")
    drive_with(job, other)
    job.cancel()
    assert (drive_with(job, other).status, released(outside)) == ("running", [])
    run_alone_b.complete("done after all")
    assert (drive_with(job, other).status, released(outside)) == ("cancelled", ["a"])


@pytest.mark.parametrize(
    "point, known",
    [
        (CrashPoint.AFTER_CLAIM, True),
        (CrashPoint.BEFORE_INTENT, True),
        (CrashPoint.AFTER_INTENT, False),
        (CrashPoint.AFTER_CALL, False),
        (CrashPoint.BEFORE_RECORD, False),
    ],
)
def test_a_crash_at_any_moment_of_it_sends_nothing_twice(point, known, worker, other, drive, outside):
    job = submit(trip(places="ab"))
    drive_to_compensation(job, worker)
    with crash_at(point):
        run_once(job, worker, "undo:b:reserve")
    step_of(job, "undo:b:reserve").rescue()
    job = drive_with(job, other)
    if not known:
        assert job.status == "waiting"
        happened = "b" in released(outside)
        resolve(
            entry_of(job, "undo:b:reserve"), "happened" if happened else "absent", by="a", why="b", result={}
        )
        job = drive_with(job, other)
    assert (job.status, released(outside)) == ("failed", ["b", "a"])
    assert set(entries(job).values()) == {"compensated", "committed"}


def drive_to_compensation(job: Job, worker: Incarnation) -> None:
    while job.compensating_at is None:
        ready = Step.objects.filter(job=job).ready().first()
        assert ready is not None
        with run_only():
            run_once(job, worker, ready.key)


def test_its_steps_are_not_told_to_cancel(worker, drive, outside):
    job = submit(trip(places="a"))
    drive_to_compensation(job, worker)
    seen = []

    def look() -> Any:
        [held] = worker._held.values()
        worker.beat()
        seen.append(held.context.cancelled)
        return {}

    outside.after["release"].append(look)
    assert (drive(job).status, seen) == ("failed", [False])


def test_a_job_that_was_undone_verifies(drive, outside):
    job = drive(submit(trip(places="ab")))
    found = replays.verify(job)
    assert found.is_good, (found.faults, str(found.first_divergence))


def test_a_declaration_that_cannot_work_is_refused_at_submit_and_by_check():
    @tools.tool(name="bad", compensate=Compensation("nobody", {}))
    def bad() -> None: ...

    try:
        with pytest.raises(GraphInvalid, match=r"tool.compensate.tool: unknown tool 'nobody'"):
            submit(calling("bad"))
        assert ["unknown tool 'nobody'" in str(error.msg) for error in check_compensations()] == [True]
    finally:
        del tools.registry._tools["bad"]


@pytest.mark.parametrize(
    "compensate, path",
    [
        ({"tool": "nobody"}, "nodes[0].compensate.tool"),
        ({"tool": "release", "inputs": {"what": "${last.x}"}}, "nodes[0].compensate.inputs.what"),
        ({"tool": "release", "inputs": {"what": "${"}}, "nodes[0].compensate.inputs.what"),
        ({"tool": "release", "inputs": {}}, "nodes[0].compensate.inputs.what"),
        ({"tool": "release", "inputs": {"what": 3}}, "nodes[0].compensate.inputs.what"),
        ({"inputs": {}}, "nodes[0].compensate"),
        (True, "nodes[0].compensate"),
    ],
)
def test_a_bad_declaration_of_a_node_is_refused_with_its_place(compensate, path):
    with pytest.raises(GraphInvalid) as refused:
        submit({"nodes": [{"id": "a", "kind": "tool", "tool": "charge", "compensate": compensate}]})
    assert [problem.path for problem in refused.value.problems] == [path]


def test_only_the_jobs_own_graph_says_when():
    with pytest.raises(GraphInvalid, match=r"nodes\[0\].graph.compensate"):
        inner = Graph(compensate="always")
        inner.tool("a", "charge")
        submit(mapping(inner))
    with pytest.raises(GraphInvalid, match="compensate: must be one of"):
        submit({**calling("charge").build(), "compensate": "sometimes"})


def test_no_graph_can_name_the_kind_of_the_runtimes_own_steps():
    with pytest.raises(GraphInvalid, match="unknown kind 'compensation'"):
        submit({"nodes": [{"id": "a", "kind": "compensation", "tool": "release"}]})


def test_a_read_only_tool_has_nothing_to_undo():
    with pytest.raises(TypeError, match="nothing to compensate"):
        tools.tool(name="seen", read_only=True, compensate=Compensation("release"))(lambda: None)
    with pytest.raises(GraphInvalid, match="no effect to undo"):
        submit(calling("lookup", compensate=Compensation("release", {"what": "x"})))


def test_doctor_finds_a_call_that_was_to_be_undone_and_was_not(drive, outside):
    job = drive(submit(trip(places="a")))
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE aetheris_ledger_entry DISABLE TRIGGER aetheris_ledger_arrows")
        for state in ("committed", "compensated"):
            cursor.execute(
                "UPDATE aetheris_ledger_entry SET state = %s WHERE job_id = %s AND name = 'reserve'",
                [state, job.pk],
            )
            codes = [finding.code for finding in doctor.examine([job.pk], deep=False)]
            assert codes == (["uncompensated"] if state == "committed" else [])
        cursor.execute("ALTER TABLE aetheris_ledger_entry ENABLE TRIGGER aetheris_ledger_arrows")
