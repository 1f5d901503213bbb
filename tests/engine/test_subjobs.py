"""Subjobs: an agent as a step of another. It begins once, its end is told once, and it ends with its parent."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from runtime import agents, recovery, subjobs
from runtime.exceptions import InputInvalid, JobFinished, Permanent, StaleAttempt
from runtime.graph import Graph, GraphInvalid
from runtime.models import Job
from runtime.ports import CrashPoint
from runtime.stack.processes import wait_until
from tests.agents_app.world import world
from tests.engine.driving import crash_at, run_once, statuses, step_of, submit, told, why
from tests.engine.driving import drive as drive_with
from tests.engine.scoped import during, failing_for, mapping, mend, run_alone


def calling_agent(agent: str, input: Any = None, **keys: Any) -> Graph:
    """A graph of one step that runs an agent."""
    graph = Graph()
    graph.subjob("sub", agent, input=input, **keys)
    return graph


@pytest.fixture
def agents_of_the_test(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], Graph]], None]:
    """Registers agents for one test."""
    monkeypatch.setattr(agents, "_agents", dict(agents._agents))

    def register(name: str, graph: Callable[[], Graph]) -> None:
        agents.agent(name)(graph)

    return register


@pytest.fixture(autouse=True)
def an_agent_that_does_what_it_is_told(
    agents_of_the_test: Callable[[str, Callable[[], Graph]], None],
) -> None:
    def does() -> Graph:
        graph = Graph()
        graph.function("does", "do", what="${input}")
        return graph

    agents_of_the_test("does", does)


def child_of(job: Job) -> Job:
    return Job.objects.get(parent_step__job=job)


def waiting_parent(worker: Any, **keys: Any) -> tuple[Job, Job]:
    """A parent that waits for a child, which waits for the signal `go`."""
    job = drive_with(submit(calling_agent("wait", **keys)), worker)
    return job, drive_with(child_of(job), worker)


def until_blocked() -> None:
    """Somebody waits for a lock."""

    def somebody_waits() -> bool:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return bool(cursor.fetchone()[0])

    with connection.cursor() as cursor:
        assert wait_until(somebody_waits, timeout=60, pause=0.002), "nobody waits"


def again(job: Job) -> Job:
    job.refresh_from_db()
    return job


# Begin, end, result


@pytest.mark.pg_slice
def test_the_result_of_a_subjob_is_the_result_of_its_step(drive):
    graph = calling_agent("echo", {"n": "${input.n}"})
    graph.function("after", "say", value="${sub.n}")
    job = drive(submit(graph, {"n": 7}))
    assert (job.status, step_of(job, "sub").waiting_for) == ("waiting", f"subjob:subjob:{child_of(job).pk}")
    child = drive(child_of(job))
    assert (child.status, child.input, child.parent_step_id) == (
        "completed",
        {"n": 7},
        step_of(job, "sub").pk,
    )
    assert drive(job).result == 7
    assert again(child).reported_at is not None


def test_each_tells_of_the_other(drive):
    job = drive(submit(calling_agent("echo", 1)))
    child = drive(child_of(job))
    drive(job)
    assert child.events.get(type="job_submitted").data["parent"] == str(job.pk)
    assert child.events.get(type="job_submitted").data["parent_step"] == "sub"
    received = job.events.get(type="signal_received")
    assert received.data["name"] == f"subjob:{child.pk}"
    assert received.as_header()["causes"] == [bytes(child.head).hex()]
    assert told(job, step="sub") == [
        "step_claimed", "step_parked", "signal_consumed", "step_resumed", "step_claimed", "step_completed",
    ]  # fmt: skip


def test_a_subjob_that_fails_fails_its_step_with_its_error(drive):
    job = drive(submit(calling_agent("failing")))
    child = drive(child_of(job))
    assert (drive(job).status, why(job)["type"], why(job)["step"]) == ("failed", "SubjobFailed", "sub")
    assert why(job)["cause"] == child.error


def test_the_failure_of_a_subjob_may_be_handled(drive):
    graph = calling_agent("failing")
    graph.handle("sub").failed >> graph.function("mend", "say", value="mended")
    graph.result("${mend}")
    job = drive(submit(graph))
    drive(child_of(job))
    assert drive(job).result == "mended"


def test_a_subjob_that_somebody_cancels_fails_its_step(worker):
    job, child = waiting_parent(worker)
    child.cancel(by="ops")
    assert drive_with(job, worker).status == "failed"
    assert "was cancelled" in why(job)["message"]


def test_an_agent_that_nobody_knows_is_refused_at_submit():
    with pytest.raises(GraphInvalid) as refused:
        submit(calling_agent("nobody"))
    assert [(problem.path, problem.code) for problem in refused.value.problems] == [
        ("nodes[0].agent", "unknown_agent")
    ]


def test_subjobs_of_subjobs_answer_all_the_way_up(drive, agents_of_the_test):
    def parent() -> Graph:
        return calling_agent("echo", "${input}")

    agents_of_the_test("parent", parent)
    job = drive(submit(calling_agent("parent", "deep")))
    child = drive(child_of(job))
    drive(child_of(child))
    drive(child)
    assert drive(job).result == "deep"


def test_a_subjob_in_each_copy_of_a_map(drive):
    inner = calling_agent("echo", "${item}")
    job = drive(submit(mapping(inner, max_parallel=2), ["a", "b", "c"]))
    while children := list(Job.objects.unfinished().filter(parent_step__job=job)):
        assert len(children) <= 2
        for child in children:
            drive(child)
        drive(job)
    assert job.result == ["a", "b", "c"]


def test_a_signal_from_outside_cannot_speak_for_a_subjob(worker):
    job, child = waiting_parent(worker)
    with pytest.raises(InputInvalid):
        job.signal(f"subjob:{child.pk}", {"status": "completed"})


# Crashes and races


@pytest.mark.parametrize("point", [CrashPoint.AFTER_CLAIM, CrashPoint.BEFORE_RECORD])
def test_a_subjob_begins_once_however_often_its_step_is_tried(point, worker, other):
    job = submit(calling_agent("echo", 1))
    with crash_at(point):
        run_once(job, worker, "sub")
    step_of(job, "sub").rescue()
    drive_with(job, other)
    drive_with(child_of(job), other)
    assert drive_with(job, other).result == 1
    assert Job.objects.filter(parent_step__job=job).count() == 1


def test_a_subjob_may_end_before_its_parent_waits_for_it(worker, other):
    job = submit(calling_agent("echo", 1))
    during(CrashPoint.BEFORE_RECORD, lambda: drive_with(child_of(job), other))
    run_alone(job, worker, "sub")
    assert child_of(job).status == "completed"
    assert told(job, step="sub")[-2:] == ["signal_consumed", "step_resumed"]
    assert drive_with(job, worker).result == 1


def test_an_end_that_a_crash_kept_from_the_parent_is_told_by_the_sweep(worker, monkeypatch):
    job, child = waiting_parent(worker)
    monkeypatch.setattr(subjobs, "report_after_commit", lambda job_id: None)
    child.signal("go", "came")
    drive_with(child, worker)
    assert (child.status, child.reported_at, drive_with(job, worker).status) == ("completed", None, "waiting")
    assert recovery.tell_parents() == 1
    assert drive_with(job, worker).result == "came"
    assert recovery.tell_parents() == 0


def test_an_end_that_is_told_twice_has_one_effect(drive):
    job = drive(submit(calling_agent("echo", 1)))
    child = drive(child_of(job))
    subjobs.report(child)
    subjobs.report(child)
    assert drive(job).result == 1
    assert told(job).count("signal_received") == 1


def test_a_parent_that_has_ended_does_not_mind_that_its_subjob_ends(worker):
    job, child = waiting_parent(worker, on_parent_end="abandon")
    job.cancel()
    child.signal("go", 1)
    assert drive_with(child, worker).status == "completed"
    assert again(child).reported_at is not None
    assert recovery.tell_parents() == 0


def test_a_paused_parent_takes_the_result_when_it_is_resumed(worker):
    job, child = waiting_parent(worker)
    job.pause()
    child.signal("go", "came")
    drive_with(child, worker)
    assert drive_with(job, worker).status != "completed"
    job.resume()
    assert drive_with(job, worker).result == "came"


# The end of the parent


def test_a_cancelled_parent_cancels_its_subjobs_all_the_way_down(worker, agents_of_the_test):
    agents_of_the_test("parent", lambda: calling_agent("wait"))
    job = drive_with(submit(calling_agent("parent")), worker)
    child = drive_with(child_of(job), worker)
    grandchild = drive_with(child_of(child), worker)
    job.cancel(by="ops")
    assert [again(one).status for one in (job, child, grandchild)] == ["cancelled"] * 3
    seq = child.events.get(type="operator_acted").seq
    told_why: Any = child.event_parts.get(seq=seq, name="operator").value
    assert str(job.pk) in told_why["why"]


def test_an_abandoned_subjob_goes_on_without_its_parent(worker):
    job, child = waiting_parent(worker, on_parent_end="abandon")
    job.cancel(by="ops")
    recovery.cancel_orphans()
    assert again(child).status == "waiting"
    child.signal("go", 1)
    assert drive_with(child, worker).status == "completed"


def test_a_subjob_that_runs_while_its_parent_is_cancelled_is_told(worker, other):
    seen: list[bool] = []

    def look(context: Any) -> str:
        job.cancel(by="ops")
        other.beat()
        seen.append(context.cancelled)
        return "stopped"

    world.doings["look"] = look
    job = drive_with(submit(calling_agent("does", "look")), worker)
    child = drive_with(child_of(job), other)
    assert (seen, child.status, again(job).status) == ([True], "cancelled", "cancelled")


def test_a_subjob_that_a_crash_kept_from_the_cancel_is_cancelled_by_the_sweep(worker, monkeypatch):
    job, child = waiting_parent(worker)
    with monkeypatch.context() as crashing:
        crashing.setattr(subjobs, "cancel_children", lambda job, by: None)
        job.cancel(by="ops")
    assert again(child).status == "waiting"
    recovery.cancel_orphans()
    assert again(child).status == "cancelled"


def test_a_parent_that_fails_takes_its_subjob_along(worker):
    graph = calling_agent("wait")
    failing_for("bad")
    graph.function("bad", "do", what="fail for", value="bad")
    job = submit(graph)
    run_alone(job, worker, "sub")
    child = drive_with(child_of(job), worker)
    assert drive_with(job, worker).status == "failed"
    recovery.cancel_orphans()
    assert again(child).status == "cancelled"


def failed_parent_of_an_open_child(worker: Any) -> tuple[Job, Job]:
    graph = calling_agent("wait")
    failing_for("bad")
    graph.function("bad", "do", what="fail for", value="bad")
    job = submit(graph)
    run_alone(job, worker, "sub")
    child = drive_with(child_of(job), worker)
    return drive_with(job, worker), child


def test_a_parent_that_is_retried_just_then_keeps_its_subjob(worker):
    """Between the sweep's two looks."""
    job, child = failed_parent_of_an_open_child(worker)
    found = Job.objects.orphaned().get()
    mend()
    job.retry()
    with pytest.raises(StaleAttempt):
        subjobs.cancel_orphan(found)
    assert again(child).status == "waiting"
    drive_with(job, worker)
    child.signal("go", 1)
    drive_with(child, worker)
    assert drive_with(job, worker).status == "completed"


def test_a_parent_is_not_retried_while_its_subjob_is_asked_to_end(worker, pair, monkeypatch):
    job, child = failed_parent_of_an_open_child(worker)
    mend()
    cancel, entered = Job.cancel, threading.Event()

    def slowly(one: Job, **keys: Any) -> None:
        entered.set()
        until_blocked()
        cancel(one, **keys)

    monkeypatch.setattr(Job, "cancel", slowly)

    def retry() -> None:
        entered.wait()
        job.retry()

    assert pair.at_once(recovery.cancel_orphans, retry) == [None, None]
    assert again(child).status == "cancelled"
    drive_with(job, worker)
    assert drive_with(again(child), worker).status == "waiting", "it goes on with its parent"
    child.signal("go", 1)
    drive_with(child, worker)
    assert drive_with(job, worker).status == "completed"


def test_a_sweep_looks_at_so_many_open_subjobs_and_at_the_others_next(worker, monkeypatch):
    monkeypatch.setattr(recovery, "BATCH", 2)
    children = [failed_parent_of_an_open_child(worker)[1] for _ in range(3)]
    after = recovery.cancel_orphans()
    assert [again(child).status for child in children] == ["cancelled", "cancelled", "waiting"]
    assert recovery.cancel_orphans(after) is None
    assert again(children[2]).status == "cancelled"


def test_a_copy_that_is_told_to_end_takes_its_subjob_along(worker):
    inner = calling_agent("wait")
    inner.function("it", "do", what="fail for", value="${item}")
    failing_for("b")
    job = submit(mapping(inner, completion={"tolerated_failures": 1}), ["a", "b"])
    for key in ("each", "each[0].sub", "each[1].sub", "each[1].it"):
        run_alone(job, worker, key)
    recovery.cancel_orphans()
    kept, ended = Job.objects.filter(parent_step__job=job).order_by("parent_step")
    assert (kept.status, ended.status) == ("pending", "cancelled")
    drive_with(kept, worker)
    kept.signal("go", 1)
    for one in (kept, job):
        drive_with(one, worker)
    assert job.status == "completed"


def test_a_subjob_that_ends_just_then_does_not_keep_the_others_from_being_cancelled(worker, monkeypatch):
    graph = calling_agent("wait")
    graph.subjob("other", "wait")
    job = drive_with(submit(graph), worker)
    first, second = Job.objects.filter(parent_step__job=job).order_by("id")
    drive_with(first, worker)
    cancel = Job.cancel

    def racing(one: Job, **keys: Any) -> None:
        if one.pk == first.pk:
            first.signal("go", 1)
            drive_with(first, worker)
        cancel(one, **keys)

    monkeypatch.setattr(Job, "cancel", racing)
    job.cancel(by="ops")
    assert [again(one).status for one in (job, first, second)] == ["cancelled", "completed", "cancelled"]


# Retrying the parent


def test_a_retried_parent_retries_its_subjob_from_what_failed(drive, outside, agents_of_the_test):
    def shop() -> Graph:
        graph = Graph()
        graph.tool("pay", "charge") >> graph.function("bad", "do", what="fail for", value="bad")
        return graph

    failing_for("bad")
    agents_of_the_test("shop", shop)
    job = drive(submit(calling_agent("shop")))
    child = drive(child_of(job))
    assert drive(job).status == "failed"
    mend()
    job.retry(by="ops")
    assert drive(job).status == "waiting"
    assert child_of(job).pk == child.pk
    assert told(child).count("job_reopened") == 1
    drive(again(child))
    assert (drive(job).status, job.result) == ("completed", "bad")
    assert len(outside.effects("charge")) == 1


def test_a_retried_parent_may_fail_for_its_subjob_again_and_be_retried_again(drive):
    failing_for("bad")
    world.doings["it"] = lambda context: world.doings["fail for"](context, "bad")
    job = drive(submit(calling_agent("does", "it")))
    child = drive(child_of(job))
    for _ in range(2):
        assert drive(job).status == "failed"
        job.retry()
        drive(job)
        drive(again(child))
    mend()
    assert drive(job).status == "failed"
    job.retry()
    drive(job)
    drive(again(child))
    assert (drive(job).status, job.result) == ("completed", "bad")
    assert told(child).count("job_reopened") == 3


def test_a_retried_parent_takes_the_result_of_a_subjob_that_was_retried_before_it(drive):
    failing_for("bad")
    world.doings["it"] = lambda context: world.doings["fail for"](context, "bad")
    job = drive(submit(calling_agent("does", "it")))
    child = drive(child_of(job))
    assert drive(job).status == "failed"
    mend()
    again(child).retry()
    assert drive(child).status == "completed"
    job.retry()
    assert drive(job).result == "bad"
    assert told(child).count("job_reopened") == 1


def test_a_retried_parent_waits_for_a_subjob_that_was_retried_before_it_and_still_runs(drive):
    failing_for("bad")
    world.doings["it"] = lambda context: world.doings["fail for"](context, "bad")
    job = drive(submit(calling_agent("does", "it")))
    child = drive(child_of(job))
    assert drive(job).status == "failed"
    mend()
    again(child).retry()
    job.retry()
    assert drive(job).status == "waiting"
    drive(child)
    assert drive(job).result == "bad"


def test_a_subjob_that_was_cancelled_with_its_parent_goes_on_when_that_is_retried(worker, outside):
    graph = calling_agent("wait")
    failing_for("bad")
    graph.function("bad", "do", what="fail for", value="bad")
    job = submit(graph)
    run_alone(job, worker, "sub")
    child = drive_with(child_of(job), worker)
    drive_with(job, worker)
    recovery.cancel_orphans()
    assert (job.status, again(child).status) == ("failed", "cancelled")
    mend()
    job.retry()
    drive_with(job, worker)
    assert drive_with(again(child), worker).status == "waiting"
    recovery.cancel_orphans()
    again(child).signal("go", "came")
    drive_with(child, worker)
    assert drive_with(job, worker).status == "completed"


def test_a_cancelled_subjob_is_not_retried_by_itself(worker):
    job, child = waiting_parent(worker)
    job.cancel()
    with pytest.raises(JobFinished, match="cancelled"):
        again(child).retry()


def test_a_retried_parent_begins_a_subjob_that_had_not_begun(drive):
    world.doings["bad"] = lambda context: (_ for _ in ()).throw(Permanent("no"))
    graph = Graph()
    graph.function("first", "do", what="bad") >> graph.subjob("sub", "echo", input=1)
    job = drive(submit(graph))
    world.doings["bad"] = lambda context: 1
    job.retry()
    drive(job)
    drive(child_of(job))
    assert drive(job).result == 1
    assert statuses(job) == {"first": "completed", "sub": "completed"}
