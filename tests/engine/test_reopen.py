"""Retrying a failed job: it goes on from what failed. What completed stays completed, what was called stays called."""

from typing import Any

import pytest

from runtime import recovery
from runtime.exceptions import JobFinished, Permanent
from runtime.graph import Graph
from runtime.models import Job
from runtime.outcomes import Completed
from tests.agents_app.world import world
from tests.engine.driving import claim, statuses, step_of, submit, told, why
from tests.engine.driving import drive as drive_with
from tests.engine.scoped import body, failing_for, mapping, mend, most_at_once, run_alone, scopes
from tests.healthy import nothing_is_broken
from tools import Refused


def failing(graph: Graph, id: str, **keys: Any) -> Any:
    """A step that fails until `mend()`."""
    failing_for(id)
    return graph.function(id, "do", what="fail for", value=id, **keys)


def retried(job: Job) -> Job:
    job.retry(by="ops", why="mended")
    nothing_is_broken()
    return job


def attempts(job: Job) -> dict[str, int]:
    return dict(job.steps.values_list("key", "attempt"))


# A plain graph


@pytest.mark.pg_slice
def test_a_retried_job_goes_on_from_the_step_that_failed(drive, outside):
    graph = Graph()
    graph.tool("pay", "charge") >> failing(graph, "check") >> graph.function("after", "say", value="done")
    job = drive(submit(graph))
    assert statuses(job) == {"pay": "completed", "check": "failed", "after": "cancelled"}
    mend()
    assert retried(job).status == "running"
    assert (drive(job).status, job.result, job.error) == ("completed", "done", None)
    assert attempts(job) == {"pay": 1, "check": 2, "after": 1}
    assert len(outside.effects("charge")) == 1


def test_who_retried_and_why_is_told(drive):
    graph = Graph()
    failing(graph, "a")
    job = retried(drive(submit(graph)))
    event = job.events.get(type="job_reopened")
    assert job.event_parts.get(seq=event.seq, name="operator").value == {"by": "ops", "why": "mended"}
    drive(job)


def test_a_job_may_fail_again_and_be_retried_again(drive):
    graph = Graph()
    failing(graph, "a") >> graph.function("b", "say", value="end")
    job = drive(submit(graph))
    for number in (2, 3):
        assert (drive(retried(job)).status, attempts(job)["a"]) == ("failed", number)
    mend()
    assert (drive(retried(job)).status, job.result) == ("completed", "end")
    assert [type for type in told(job) if type.startswith("job_")] == [
        "job_submitted", "job_failed", "job_reopened", "job_failed", "job_reopened", "job_failed", "job_reopened",
        "job_completed",
    ]  # fmt: skip


def test_a_retried_step_has_all_its_attempts_again(drive, clock):
    def function(context: Any) -> Any:
        raise ValueError("again")

    world.doings["it"] = function
    graph = Graph()
    graph.function("it", "do", what="it", retry={"max_attempts": 2, "backoff": 1})
    job = submit(graph)
    for round in (1, 2):
        drive(job)
        clock.forward(minutes=1)
        assert drive(job).status == "failed"
        assert (step_of(job).attempt, step_of(job).failures) == (2 * round, 2)
        if round == 1:
            retried(job)


@pytest.mark.parametrize("status", ["completed", "cancelled", "pending", "waiting"])
def test_only_a_failed_job_can_be_retried(status, drive):
    job = Job.objects.submit("wait")
    if status == "cancelled":
        job.cancel()
    elif status != "pending":
        drive(job)
    if status == "completed":
        job.signal("go")
        drive(job)
    with pytest.raises(JobFinished, match=status):
        job.retry()
    assert Job.objects.get(pk=job.pk).status == status


def test_a_failure_that_was_handled_stays_handled(drive):
    graph = Graph()
    handled = failing(graph, "handled")
    handled.failed >> graph.function("mended", "say") >> failing(graph, "bad")
    failing_for("handled", "bad")
    job = drive(submit(graph))
    assert statuses(job) == {"handled": "failed", "mended": "completed", "bad": "failed"}
    mend()
    assert drive(retried(job)).status == "completed"
    assert attempts(job) == {"handled": 1, "mended": 1, "bad": 2}


def test_what_was_skipped_stays_skipped_and_what_follows_it_runs(drive):
    graph = Graph()
    never = graph.condition("c", "false")
    never.when(True) >> graph.function("no", "say") >> graph.function("join", "say", value="joined")
    failing(graph, "bad") >> graph.handle("join")
    job = drive(submit(graph))
    mend()
    assert drive(retried(job)).result == "joined"
    assert (told(job, step="no"), attempts(job)["join"]) == (["step_skipped"], 1)


def test_a_branch_that_died_while_the_job_ended_is_skipped_when_it_is_reopened(worker):
    """The condition is decided after its sibling has failed: what follows it was cancelled by then."""
    graph = Graph()
    graph.condition("c", "false").when(True) >> graph.function("no", "say") >> graph.function("after", "say")
    failing(graph, "bad")
    job = submit(graph)
    condition = claim(job, worker, "c")
    run_alone(job, worker, "bad")
    condition.complete(False, branch="false")
    job.refresh_from_db()
    assert (job.status, statuses(job)["no"]) == ("failed", "cancelled")
    mend()
    assert drive_with(retried(job), worker).status == "completed"
    assert statuses(job) == {"c": "completed", "no": "skipped", "after": "skipped", "bad": "completed"}


@pytest.mark.parametrize("join, needed", [("any", 1), ({"n_of": 2}, 2), ("all", 3)])
def test_joins_are_counted_anew(join, needed, worker):
    graph = Graph()
    end = graph.function("end", "say", join=join)
    for number in range(3):
        graph.function(f"p{number}", "say") >> end
    failing(graph, "bad")
    job = submit(graph)
    claim(job, worker, "p0").complete()
    run_alone(job, worker, "bad")
    retried(job)
    assert statuses(job)["end"] == ("ready" if needed == 1 else "blocked")
    claim(job, worker, "p1").complete()
    assert statuses(job)["end"] == ("ready" if needed <= 2 else "blocked")
    mend()
    assert drive_with(job, worker).status == "completed"
    assert told(job, step="end").count("step_completed") == 1


def test_a_job_whose_result_could_not_be_evaluated_fails_again_in_the_same_way(drive):
    graph = Graph()
    graph.function("a", "say", value={})
    graph.result("${a.missing}")
    job = drive(submit(graph))
    assert retried(job).status == "failed"
    assert (why(job)["type"], attempts(job)) == ("ResultFailed", {"a": 1})


def test_a_paused_job_that_failed_can_be_retried(worker):
    graph = Graph()
    failing(graph, "bad")
    job = submit(graph)
    bad = claim(job, worker, "bad")
    job.pause()
    bad.fail({"type": "E", "message": "no"})
    mend()
    job.refresh_from_db()
    assert drive_with(retried(job), worker).status == "completed"


def test_a_job_that_was_asked_to_end_while_it_failed_can_be_cancelled_after_its_retry(worker, other):
    job = Job.objects.submit("fan")
    claim(job, worker, "first").complete()
    running, bad = claim(job, worker, "m0"), claim(job, other, "m1")
    bad.fail({"type": "E", "message": "no"})
    job.cancel(by="ops")
    running.complete()
    job.refresh_from_db()
    assert job.status == "failed"
    retried(job)
    job.cancel(by="ops")
    assert job.status == "cancelled"


# Waits


def test_an_approval_that_timed_out_asks_again_and_takes_a_new_decision(drive, clock, boss):
    graph = Graph()
    graph.approval("ok", prompt="May I?", timeout="1h")
    job = drive(submit(graph))
    clock.forward(hours=2)
    recovery.wake_due()
    assert (drive(job).status, why(job)["type"]) == ("failed", "ApprovalTimedOut")
    assert drive(retried(job)).status == "waiting"
    job.decide("ok", approve=True, user=boss)
    assert drive(job).status == "completed"


def test_a_wait_that_timed_out_takes_a_signal_that_comes_after_the_retry(drive, clock):
    graph = Graph()
    graph.wait("go", signal="go", timeout="1h")
    job = drive(submit(graph))
    for _ in range(2):
        clock.forward(hours=2)
        recovery.wake_due()
        assert drive(job).status == "failed"
        assert drive(retried(job)).status == "waiting"
    job.signal("go", "came")
    assert drive(job).result == "came"


def test_what_a_wait_was_given_before_its_step_failed_is_not_asked_for_again(drive):
    world.doings["use"] = lambda context: (_ for _ in ()).throw(Permanent("no"))
    graph = Graph()
    graph.wait("go", signal="go") >> graph.function("use", "do", what="use")
    job = drive(submit(graph))
    job.signal("go", 1)
    assert drive(job).status == "failed"
    world.doings["use"] = lambda context: "used"
    assert (drive(retried(job)).result, attempts(job)["go"]) == ("used", 2)


def test_a_wait_that_was_cancelled_with_its_job_waits_again(drive, worker):
    graph = Graph()
    graph.wait("go", signal="go")
    failing(graph, "bad")
    job = submit(graph)
    run_alone(job, worker, "go")
    assert drive(job).status == "failed"
    mend()
    assert drive(retried(job)).status == "waiting"
    job.signal("go", "came")
    assert drive(job).status == "completed"


def test_a_timer_that_has_fired_is_not_waited_for_again(drive, worker, clock):
    graph = Graph()
    graph.timer("t", "1h")
    failing(graph, "bad")
    job = submit(graph)
    run_alone(job, worker, "t")
    clock.forward(hours=2)
    recovery.wake_due()
    assert step_of(job, "t").status == "ready"
    run_alone(job, worker, "bad")
    assert statuses(job)["t"] == "cancelled"
    mend()
    assert drive(retried(job)).status == "completed"


# Effects


def test_a_call_that_was_refused_is_made_again_with_the_same_key(drive, outside):
    outside.before["charge"].append(Refused("card is blocked"))
    job = drive(Job.objects.submit("charge", {"amount": 5.0}))
    assert job.status == "failed"
    assert drive(retried(job)).status == "completed"
    (call,) = outside.effects("charge")
    assert call.key == str(job.ledger.get().idempotency_key)


def test_what_a_function_called_before_it_failed_is_not_called_again(drive, outside):
    def function(context: Any) -> Any:
        paid = context.tool("charge", amount=3.0)
        if world.doings["is bad"](1):
            raise Permanent("after the call")
        return paid

    world.doings["it"] = function
    failing_for(1)
    graph = Graph()
    graph.function("it", "do", what="it")
    job = drive(submit(graph))
    assert job.status == "failed"
    mend()
    assert drive(retried(job)).result == {"charged": 3.0}
    assert len(outside.effects("charge")) == 1


# Maps


def test_a_retried_map_runs_what_failed_and_what_had_not_run_and_nothing_else(drive, outside):
    job = drive(submit(mapping(failing_for(2, 4), max_parallel=1), [1, 2, 3, 4, 5]))
    assert scopes(job) == ["completed", "failed", "cancelled", "cancelled", "cancelled"]
    mend()
    assert drive(retried(job)).result == [1, 2, 3, 4, 5]
    assert attempts(job) == {
        "each": 3, "each[0].it": 1, "each[1].it": 2, "each[2].it": 1, "each[3].it": 1, "each[4].it": 1,
    }  # fmt: skip
    assert told(job).count("plan_recorded") == 2


def test_a_map_may_fail_again_and_be_retried_again(drive):
    job = drive(submit(mapping(failing_for(2), max_parallel=2), [1, 2, 3]))
    assert drive(retried(job)).status == "failed"
    assert (why(job)["cause"]["step"], attempts(job)["each[1].it"]) == ("each[1].it", 2)
    mend()
    assert drive(retried(job)).result == [1, 2, 3]


def test_a_retried_map_keeps_to_max_parallel(worker):
    inner = failing_for(0)
    inner.handle("it") >> inner.function("next", "say", value="${item}")
    job = drive_with(submit(mapping(inner, max_parallel=3), list(range(9))), worker)
    assert job.status == "failed"
    mend()
    retried(job)
    most = most_at_once(job, worker)
    assert (most, job.status, job.result) == (3, "completed", list(range(9)))


def test_copies_that_had_begun_keep_to_max_parallel_too(worker):
    """More copies failed than may be under way at once, as the policy tolerated most of them."""
    inner = failing_for(*range(7))
    inner.function("first", "say") >> inner.handle("it")
    job = drive_with(
        submit(mapping(inner, max_parallel=2, completion={"tolerated_failures": 5}), list(range(9))), worker
    )
    assert (job.status, scopes(job).count("failed")) == ("failed", 6)
    mend()
    retried(job)
    most = most_at_once(job, worker)
    assert (most, job.status, set(scopes(job))) == (2, "completed", {"completed"})
    assert {n for key, n in attempts(job).items() if key.endswith("first")} == {1}


def test_what_a_map_tolerated_is_left_alone_when_something_after_it_is_retried(drive):
    graph = mapping(failing_for("b"), completion={"tolerated_failures": 1})
    world.doings["after"] = lambda context: (_ for _ in ()).throw(Permanent("no"))
    graph.handle("each") >> graph.function("after", "do", what="after")
    job = drive(submit(graph, ["a", "b", "c"]))
    assert (job.status, statuses(job)["each"]) == ("failed", "completed")
    mend()
    world.doings["after"] = lambda context: "done"
    assert drive(retried(job)).result == "done"
    assert attempts(job)["each[1].it"] == 1
    assert statuses(job)["each[1].it"] == "failed"


def test_what_was_not_needed_any_more_stays_cancelled_when_something_after_it_is_retried(drive):
    graph = mapping(max_parallel=1, completion={"min_successful": 1})
    world.doings["after"] = lambda context: (_ for _ in ()).throw(Permanent("no"))
    graph.handle("each") >> graph.function("after", "do", what="after")
    job = drive(submit(graph, ["a", "b"]))
    world.doings["after"] = lambda context: "done"
    assert drive(retried(job)).result == "done"
    assert (attempts(job)["each"], statuses(job)["each[1].it"]) == (2, "cancelled")


def test_an_unhandled_failure_of_a_map_is_retried_with_its_policy(drive):
    job = drive(
        submit(mapping(failing_for(0, 1, 2), max_parallel=1, completion={"tolerated_failures": 1}), [0, 1, 2])
    )
    assert (job.status, scopes(job)) == ("failed", ["failed", "failed", "cancelled"])
    failing_for(2)
    assert drive(retried(job)).status == "completed"
    result: Any = job.result
    assert (result["results"], result["failed"]) == ([0, 1, None], 1)


def test_a_copy_that_ended_while_its_job_did_is_not_waited_for(worker):
    graph = mapping()
    failing(graph, "bad")
    job = submit(graph, ["a", "b"])
    run_alone(job, worker, "each")
    running = claim(job, worker, "each[0].it")
    run_alone(job, worker, "bad")
    running.complete("a")
    job.refresh_from_db()
    assert (job.status, statuses(job)["each[0].it"], statuses(job)["each[1].it"]) == (
        "failed",
        "completed",
        "cancelled",
    )
    mend()
    retried(job)
    assert drive_with(job, worker).status == "completed"
    assert step_of(job, "each").result == ["a", "b"]


def test_a_map_whose_results_could_not_be_evaluated_collects_again_and_expands_no_second_time(drive):
    inner = body()
    inner.result("${it.missing}")
    job = drive(submit(mapping(inner), [{}, {}]))
    assert job.status == "failed"
    assert drive(retried(job)).status == "failed"
    assert "missing" in why(job)["message"]
    assert (attempts(job)["each[0].it"], told(job).count("plan_recorded")) == (1, 2)


def test_a_failure_deep_inside_is_retried_where_it_happened(drive):
    inner = Graph()
    inner.map("cells", "${row}", failing_for(3), max_parallel=1)
    job = drive(submit(mapping(inner, max_parallel=1, **{"as": "row"}), [[1, 2], [2, 3, 4], [5]]))
    assert job.status == "failed"
    mend()
    assert drive(retried(job)).result == [[1, 2], [2, 3, 4], [5]]
    again = {key for key, n in attempts(job).items() if n > 1 and key.endswith(".it")}
    assert again == {"each[1].cells[1].it"}


def test_copies_within_copies_go_on_when_their_turn_comes(worker):
    """Both rows had begun their cells when they failed; after the retry one row is under way at a time."""
    failing_for("a", "b")
    inner = Graph()
    inner.function("it", "do", what="fail for", value="${row}")
    inner.map("cells", [1, 2], body(value="${row}/${item}"))
    inner.result("${cells}")
    policy = {"tolerated_failures": 1}
    job = submit(mapping(inner, max_parallel=1, completion=policy, **{"as": "row"}), ["a", "b"])
    for key in ("each", "each[0].cells", "each[0].cells[1].it", "each[0].it", "each[1].cells", "each[1].it"):
        run_alone(job, worker, key)
    assert drive_with(job, worker).status == "failed"
    mend()
    retried(job)
    assert {key: status for key, status in statuses(job).items() if status in ("ready", "waiting", "blocked")} == {
        "each": "waiting", "each[0].it": "ready", "each[0].cells": "waiting", "each[0].cells[0].it": "ready",
        "each[1].it": "blocked", "each[1].cells": "waiting", "each[1].cells[0].it": "blocked",
        "each[1].cells[1].it": "blocked",
    }  # fmt: skip
    assert drive_with(job, worker).status == "completed"
    result: Any = job.result
    assert result["results"] == [["a/1", "a/2"], ["b/1", "b/2"]]
    assert attempts(job)["each[0].cells[1].it"] == 1


def test_a_branch_inside_a_copy_that_died_while_the_copy_ended_is_skipped_when_it_goes_on(worker):
    inner = Graph()
    inner.condition("c", "false").when(True) >> inner.function("no", "say")
    inner.function("it", "say")
    job = submit(mapping(inner), [1, 2])
    run_alone(job, worker, "each")
    condition, bad = claim(job, worker, "each[0].c"), claim(job, worker, "each[1].it")
    bad.fail({"type": "E", "message": "no"})
    condition.complete(False, branch="false")
    assert drive_with(job, worker).status == "failed"
    assert statuses(job)["each[0].no"] == "cancelled"
    assert drive_with(retried(job), worker).status == "completed"
    assert statuses(job)["each[0].no"] == "skipped"


# Plans and spawned steps


def test_a_retried_plan_goes_on_within_its_graph_and_is_not_made_again(drive):
    made = []

    def plan(context: Any) -> Graph:
        made.append(1)
        graph = Graph()
        graph.function("a", "say", value="a") >> failing(graph, "b")
        return graph

    world.doings["plan"] = plan
    graph = Graph()
    graph.plan("p", "do", what="plan")
    job = drive(submit(graph))
    assert (job.status, why(job)["step"], len(made)) == ("failed", "p", 1)
    mend()
    assert drive(retried(job)).result == "b"
    assert (len(made), attempts(job)["p.a"], attempts(job)["p.b"]) == (1, 1, 2)


def test_a_plan_that_could_not_be_made_is_made_again(drive):
    world.doings["plan"] = lambda context: (_ for _ in ()).throw(Permanent("no"))
    graph = Graph()
    graph.plan("p", "do", what="plan")
    job = drive(submit(graph))
    assert job.status == "failed"
    world.doings["plan"] = lambda context: body(value="made")
    assert drive(retried(job)).result == "made"


def test_a_spawned_step_that_failed_is_retried_and_its_spawner_is_not(drive):
    def spawn(context: Any) -> Completed:
        graph = Graph()
        failing(graph, "x")
        return Completed("spawned", spawn=graph)

    world.doings["spawn"] = spawn
    graph = Graph()
    graph.function("s", "do", what="spawn")
    job = drive(submit(graph))
    assert (job.status, why(job)["step"]) == ("failed", "s.x")
    mend()
    assert (drive(retried(job)).status, job.result) == ("completed", "spawned")
    assert attempts(job) == {"s": 1, "s.x": 2}
