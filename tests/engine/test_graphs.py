"""Graphs: what is released, skipped and cancelled when steps end, and what the job answers."""

from typing import Any

import pytest

from runtime import ports, recovery, replays
from runtime.exceptions import JobFinished, Permanent
from runtime.graph import Graph
from runtime.models import Job, Step
from runtime.ports import CrashPoint
from tests.agents_app.world import world
from tests.engine.driving import (
    claim,
    doing,
    run_once,
    statuses,
    step_of,
    submit,
    told,
    why,
)
from tests.engine.driving import drive as drive_with
from tests.engine.scoped import run_alone


def raising(error: BaseException) -> Any:
    def function(context: Any, **inputs: Any) -> None:
        raise error

    return function


@pytest.fixture(autouse=True)
def breaking(outside):
    outside.doings["break"] = raising(Permanent("broken on purpose"))


def failing(graph: Graph, id: str, **keys: Any) -> Any:
    return graph.function(id, "do", what="break", **keys)


# Joins


@pytest.mark.pg_slice
def test_a_diamond_runs_each_step_once_and_joins_their_results(drive):
    job = drive(Job.objects.submit("diamond", 7))
    assert (job.status, set(statuses(job).values())) == ("completed", {"completed"})
    assert job.result == 5
    assert all(step.attempt == 1 for step in job.steps.all())


def test_a_straight_line_is_one_run_of_one_worker(worker):
    job = Job.objects.submit("counting")
    run_once(job, worker, "s0")
    assert (job.status, job.result) == ("completed", 10)


def test_a_false_condition_skips_what_follows_it_and_the_job_completes(drive):
    graph = Graph()
    big = graph.condition("big", "input > 10")
    big.when(True) >> graph.function("yes", "say") >> graph.function("after_yes", "say")
    big.when(False) >> graph.function("no", "say", value="small")
    job = drive(submit(graph, 1))
    assert statuses(job) == {"big": "completed", "yes": "skipped", "after_yes": "skipped", "no": "completed"}
    assert job.status == "completed"


def test_a_join_runs_when_one_of_its_branches_was_taken(drive):
    graph = Graph()
    big = graph.condition("big", "input > 10")
    yes, no, end = (graph.function(key, "say", value=key) for key in ("yes", "no", "end"))
    big.when(True) >> yes
    big.when(False) >> no
    [yes, no] >> end
    assert statuses(drive(submit(graph, 1))) == {
        "big": "completed",
        "yes": "skipped",
        "no": "completed",
        "end": "completed",
    }


def test_a_join_whose_branches_are_all_dead_is_skipped(drive):
    graph = Graph()
    one, two = graph.condition("one", "false"), graph.condition("two", "false")
    end = graph.function("end", "say")
    one.when(True) >> end
    two.when(True) >> end
    job = drive(submit(graph))
    assert (statuses(job)["end"], job.status) == ("skipped", "completed")


def test_an_edge_leads_past_a_condition_to_the_same_step(drive):
    graph = Graph()
    big, ask, pay = (
        graph.condition("big", "input > 10"),
        graph.function("ask", "say"),
        graph.function("pay", "say"),
    )
    big.when(True) >> ask >> pay
    big.when(False) >> pay
    assert statuses(drive(submit(graph, 1)))["pay"] == "completed"
    assert statuses(drive(submit(graph, 11)))["pay"] == "completed"


def test_both_outcomes_of_a_condition_may_lead_to_one_step(drive):
    graph = Graph()
    big, pay = graph.condition("big", "input > 10"), graph.function("pay", "say")
    big.when(True) >> pay
    big.when(False) >> pay
    for input in (1, 11):
        assert statuses(drive(submit(graph, input))) == {"big": "completed", "pay": "completed"}


@pytest.mark.parametrize("join, parents_needed", [("any", 1), ({"n_of": 2}, 2), ({"n_of": 3}, 3), ("all", 3)])
def test_a_join_is_released_by_exactly_as_many_parents_as_it_needs(join, parents_needed, worker):
    graph = Graph()
    parents = [graph.function(f"p{number}", "say") for number in range(3)]
    parents >> graph.function("end", "say", join=join)
    job = submit(graph)
    for number in range(3):
        assert statuses(job)["end"] == ("ready" if number >= parents_needed else "blocked")
        claim(job, worker, f"p{number}").complete()
    assert statuses(job)["end"] == "ready"
    drive_with(job, worker)
    assert told(job, step="end") == ["step_claimed", "step_completed"]


@pytest.mark.parametrize("join", ["any", {"n_of": 2}])
def test_a_join_that_can_no_longer_be_satisfied_is_skipped_and_never_hangs(join, drive):
    graph = Graph()
    conditions = [graph.condition(f"c{number}", "false") for number in range(2)]
    end = graph.function("end", "say", join=join)
    for condition in conditions:
        condition.when(True) >> end
    end >> graph.function("after", "say")
    job = drive(submit(graph))
    assert (statuses(job)["end"], statuses(job)["after"], job.status) == ("skipped", "skipped", "completed")


def test_a_join_waits_for_the_last_of_its_parents(worker):
    graph = Graph()
    [graph.function("p0", "say"), graph.function("p1", "say")] >> graph.function("end", "say")
    job = submit(graph)
    claim(job, worker, "p0").complete()
    assert statuses(job)["end"] == "blocked"
    claim(job, worker, "p1").complete()
    assert statuses(job)["end"] == "ready"


def test_an_any_join_runs_once_though_its_other_parent_ends_later(worker):
    graph = Graph()
    [graph.function("p0", "say"), graph.function("p1", "say")] >> graph.function("end", "say", join="any")
    job = submit(graph)
    claim(job, worker, "p0").complete()
    claim(job, worker, "end").complete("first")
    assert Job.objects.get(pk=job.pk).status == "running"
    claim(job, worker, "p1").complete()
    assert drive_with(job, worker).status == "completed"
    assert told(job, step="end") == ["step_claimed", "step_completed"]


def test_an_any_join_whose_parents_end_before_it_is_claimed_is_released_once(worker):
    graph = Graph()
    [graph.function("p0", "say"), graph.function("p1", "say")] >> graph.function("end", "say", join="any")
    job = submit(graph)
    claim(job, worker, "p0").complete()
    claim(job, worker, "p1").complete()
    job.refresh_from_db()
    assert (job.ready_steps, job.unfinished_steps) == (1, 1)
    assert drive_with(job, worker).status == "completed"


def test_a_skip_travels_down_a_long_branch_in_one_turn(drive):
    graph = Graph()
    previous = graph.condition("c", "false")
    first = graph.function("n0", "say")
    previous.when(True) >> first
    for number in range(1, 60):
        following = graph.function(f"n{number}", "say")
        first >> following
        first = following
    job = drive(submit(graph))
    assert told(job).count("step_skipped") == 60
    assert job.status == "completed"


# Failure


@pytest.mark.pg_slice
def test_a_failed_step_fails_the_job_and_cancels_what_has_not_begun(drive):
    graph = Graph()
    bad = failing(graph, "bad")
    bad >> graph.function("after", "say")
    graph.function("p_later", "say")
    job = submit(graph)
    drive(job)
    assert job.status == "failed"
    assert why(job)["step"] == "bad"
    assert "broken on purpose" in why(job)["message"]
    assert statuses(job)["after"] == "cancelled"


def test_a_failing_step_lets_its_running_siblings_finish_and_starts_no_others(worker, other):
    job = Job.objects.submit("fan")
    claim(job, worker, "first").complete()
    running, bad = claim(job, other, "m0"), claim(job, worker, "m1")
    bad.fail({"type": "E", "message": "no"})
    job.refresh_from_db()
    assert (job.status, job.ending_as) == ("running", "failed")
    assert statuses(job)["m5"] == statuses(job)["last"] == "cancelled"
    assert step_of(job, "m0").status == "running"
    running.complete("done")
    job.refresh_from_db()
    assert (job.status, why(job)["step"], statuses(job)["m0"]) == ("failed", "m1", "completed")
    assert why(job)["message"] == "no"


def test_a_failing_jobs_running_sibling_that_would_be_retried_is_cancelled(worker, other):
    job = Job.objects.submit("fan")
    claim(job, worker, "first").complete()
    running, bad = claim(job, other, "m0"), claim(job, worker, "m1")
    bad.fail({"type": "E", "message": "no"})
    running.retry({"type": "E", "message": "again"})
    job.refresh_from_db()
    assert (job.status, statuses(job)["m0"]) == ("failed", "cancelled")


def test_an_edge_for_failure_is_taken_and_the_job_completes(drive):
    graph = Graph()
    bad, rescue, after = (
        failing(graph, "bad"),
        graph.function("rescue", "say", value="saved"),
        graph.function("after", "say"),
    )
    bad.failed >> rescue
    bad >> after
    graph.result("${rescue}")
    job = drive(submit(graph))
    assert statuses(job) == {"bad": "failed", "rescue": "completed", "after": "skipped"}
    assert (job.status, job.result) == ("completed", "saved")


def test_an_edge_for_failure_is_dead_when_the_step_completes(drive):
    graph = Graph()
    good, rescue = graph.function("good", "say"), graph.function("rescue", "say")
    good.failed >> rescue
    assert statuses(drive(submit(graph))) == {"good": "completed", "rescue": "skipped"}


def test_the_first_failure_is_the_jobs_error(worker, other):
    job = Job.objects.submit("fan")
    claim(job, worker, "first").complete()
    one, two = claim(job, worker, "m0"), claim(job, other, "m1")
    one.fail({"type": "E", "message": "one"})
    two.fail({"type": "E", "message": "two"})
    job.refresh_from_db()
    assert (job.status, why(job)["message"], why(job)["step"]) == ("failed", "one", "m0")


# Size


def test_twenty_layers_of_three_parents_each_release_every_step_once(drive):
    graph = Graph()
    layer = [graph.function(f"l0_{n}", "say") for n in range(3)]
    for depth in range(1, 20):
        following = [graph.function(f"l{depth}_{n}", "say") for n in range(3)]
        for parent in layer:
            parent >> following
        layer = following
    job = drive(submit(graph))
    assert job.status == "completed"
    assert all(step.attempt == 1 and step.taken_parents == step.parents for step in job.steps.all())
    assert told(job).count("step_completed") == 60


def test_a_chain_of_300_runs_to_its_end(drive):
    graph = Graph()
    previous = graph.function("s0", "add", one=0)
    for number in range(1, 300):
        previous = graph.function(f"s{number}", "add", one=previous)
    job = drive(submit(graph))
    assert (job.status, job.result) == ("completed", 300)


def test_a_fan_out_of_300_joins(drive):
    graph = Graph()
    first, last = graph.function("first", "say"), graph.function("last", "say", value="joined")
    for number in range(300):
        first >> graph.function(f"m{number}", "say") >> last
    job = drive(submit(graph))
    assert (job.status, job.result) == ("completed", "joined")
    assert told(job).count("step_claimed") == 302


def test_a_result_that_was_not_there_yet_is_looked_for_again(worker, other):
    """A worker that goes on with a job keeps results at hand, but not that there was none."""
    graph = Graph()
    fast, slow = graph.function("fast", "say"), graph.function("slow", "say", value="slow", priority=-1)
    first = graph.function("first", "say", value=["${slow}"], join="any")
    [fast, slow] >> first
    [first, slow] >> graph.function("both", "say", value="${slow}")
    job = submit(graph)

    def before_the_end_of_first(point: CrashPoint) -> None:
        if point is CrashPoint.BEFORE_RECORD and step_of(job, "first").status == "running":
            ports.crash_hook = ports._pass
            run_alone(job, other, "slow")

    ports.crash_hook = before_the_end_of_first
    run_once(job, worker, "fast")
    assert told(job, step="both")[-1] == "step_completed"
    assert [step_of(job, key).result for key in ("first", "both")] == [[None], "slow"]


def racing(function: Any) -> Job:
    """A step that begins with the first of its parents, and is given what both have answered."""
    world.doings["it"] = function
    graph = Graph()
    fast, slow = graph.function("fast", "say"), graph.function("slow", "say", value="slow", priority=-1)
    [fast, slow] >> graph.function("it", "do", what="it", seen="${slow}", join="any")
    return submit(graph)


def test_what_a_parent_had_not_answered_yet_is_there_for_the_next_attempt(worker, other, clock):
    looks: list[Any] = []

    def reads(context: Any, seen: Any) -> Any:
        looks.append(seen)
        if seen is None:
            raise ConnectionError("again")
        return seen

    job = racing(reads)
    run_alone(job, worker, "fast")
    run_alone(job, worker, "it")
    run_alone(job, other, "slow")
    clock.forward(minutes=1)
    run_alone(job, worker, "it")
    assert (looks[:2], step_of(job).result, job.status) == ([None, "slow"], "slow", "completed")
    assert replays.verify(job).is_good


def test_a_call_is_not_made_again_with_what_a_parent_has_answered_since(worker, other, clock):
    def asks(context: Any, seen: Any) -> None:
        context.tool("lookup", name=str(seen))
        raise ConnectionError("after the call")

    job = racing(asks)
    run_alone(job, worker, "fast")
    run_alone(job, worker, "it")
    run_alone(job, other, "slow")
    clock.forward(minutes=1)
    run_alone(job, worker, "it")
    assert (job.status, why(job)["type"]) == ("failed", "FingerprintMismatch")
    assert [call.arguments for call in world.calls] == [{"name": "None"}]


# Results


def test_without_a_template_the_job_answers_with_its_one_last_step(drive):
    assert drive(Job.objects.submit("echo", {"a": [1]})).result == {"a": [1]}


def test_without_a_template_and_with_several_last_steps_the_job_answers_nothing(drive):
    graph = Graph()
    graph.function("one", "say", value=1)
    graph.function("two", "say", value=2)
    job = drive(submit(graph))
    assert (job.status, job.result) == ("completed", None)


def test_a_result_template_is_evaluated_over_the_results(drive):
    graph = Graph()
    a, b = graph.function("a", "say", value=3), graph.function("b", "say", value={"x": "y"})
    a >> b
    graph.result({"sum": "${a + 4}", "text": "a is ${a}", "b": "${b}", "input": "${input.z}", "plain": 1})
    job = drive(submit(graph, {"z": None}))
    assert job.result == {"sum": 7, "text": "a is 3", "b": {"x": "y"}, "input": None, "plain": 1}
    part = job.event_parts.get(seq=job.seq, name="output")
    assert part.value == job.result


def test_a_result_of_a_skipped_step_is_null(drive):
    graph = Graph()
    c, maybe = graph.condition("c", "false"), graph.function("maybe", "say", value=1)
    c.when(True) >> maybe
    graph.result({"maybe": "${maybe}"})
    assert drive(submit(graph)).result == {"maybe": None}


def test_a_result_expression_that_fails_fails_the_job_and_says_where(drive):
    graph = Graph()
    graph.function("a", "say", value={"x": 1})
    graph.result({"y": "${a.missing.deeper}"})
    job = drive(submit(graph))
    assert (job.status, why(job)["type"]) == ("failed", "ResultFailed")
    assert "missing" in why(job)["message"]
    assert statuses(job) == {"a": "completed"}


def test_a_result_that_cannot_be_stored_fails_the_job_and_says_why(drive, settings):
    settings.AETHERIS = {**settings.AETHERIS, "MAX_VALUE_BYTES": 1000}
    graph = Graph()
    graph.function("a", "say", value="x" * 600)
    graph.result(["${a}", "${a}"])
    job = drive(submit(graph))
    assert (job.status, why(job)["type"], statuses(job)) == ("failed", "ResultFailed", {"a": "completed"})


def test_an_input_expression_that_fails_fails_its_step_without_retries(drive):
    graph = Graph()
    graph.function("a", "say", value="${input.missing}")
    job = drive(submit(graph, {}))
    assert (job.status, step_of(job, "a").attempt) == ("failed", 1)
    assert "missing" in why(job)["message"]


def test_a_condition_that_is_not_true_or_false_fails_its_step(drive):
    graph = Graph()
    graph.condition("c", "input")
    job = drive(submit(graph, "text"))
    assert job.status == "failed"
    assert "true or false" in why(job)["message"]


# Cancel


def cancelled(job: Job) -> Job:
    job.cancel(by="ops", why="test")
    job.refresh_from_db()
    return job


@pytest.mark.pg_slice
def test_a_pending_job_is_cancelled_at_once(drive):
    job = cancelled(Job.objects.submit("diamond", 1))
    assert (job.status, set(statuses(job).values())) == ("cancelled", {"cancelled"})
    assert drive(job).status == "cancelled"


def test_a_waiting_job_is_cancelled_and_its_wait_closed(drive):
    job = cancelled(drive(Job.objects.submit("wait")))
    assert (job.status, job.waits.get().outcome) == ("cancelled", "cancelled")
    with pytest.raises(JobFinished):
        job.signal("go")


def test_a_running_job_ends_with_its_running_step_and_keeps_its_result(worker):
    job = Job.objects.submit("diamond", 1)
    step = claim(job, worker, "top")
    assert cancelled(job).status == "running"
    assert statuses(job) == {
        "top": "running",
        "left": "cancelled",
        "right": "cancelled",
        "bottom": "cancelled",
    }
    step.complete(1)
    job.refresh_from_db()
    assert (job.status, statuses(job)["top"]) == ("cancelled", "completed")


@pytest.mark.parametrize("ending", ["retry", "rescue", "fail", "time_out"])
def test_a_step_of_a_cancelled_job_never_goes_back_into_the_queue(ending, worker):
    job = Job.objects.submit("echo")
    step = claim(job, worker, "echo")
    cancelled(job)
    getattr(step, ending)(*[{"type": "E", "message": "x"}] * (ending in ("retry", "fail")))
    job.refresh_from_db()
    assert (job.status, Step.objects.ready().count()) == ("cancelled", 0)


def test_a_running_step_learns_of_the_cancel_through_its_context(worker):
    seen = []

    def look(context: Any) -> str:
        seen.append(context.cancelled)
        job.cancel(by="ops")
        worker.beat()
        seen.append(context.cancelled)
        return "stopped"

    job = submit(doing(look))
    run_once(job, worker)
    assert seen == [False, True]
    assert (job.status, statuses(job)) == ("cancelled", {"it": "completed"})


def test_a_paused_job_can_be_cancelled():
    job = Job.objects.submit("echo")
    job.pause()
    assert cancelled(job).status == "cancelled"


def test_cancelling_twice_is_cancelling_once(worker):
    job = Job.objects.submit("echo")
    step = claim(job, worker, "echo")
    cancelled(job)
    cancelled(job)
    assert told(job).count("operator_acted") == 1
    step.complete()


def test_a_step_waiting_for_its_retry_is_cancelled(worker):
    job = submit(doing(raising(ValueError("x"))))
    run_once(job, worker)
    assert cancelled(job).status == "cancelled"


def test_who_cancelled_and_why_is_told():
    job = cancelled(Job.objects.submit("echo"))
    seq = job.events.get(type="operator_acted").seq
    assert job.event_parts.get(seq=seq, name="operator").value == {"by": "ops", "why": "test"}


# Pause


@pytest.mark.pg_slice
def test_nothing_of_a_paused_job_is_claimed_until_it_is_resumed(worker):
    job = Job.objects.submit("diamond", 1)
    job.pause(by="ops")
    assert run_once(job, worker, "top").status == "ready"
    assert drive_with(job, worker).status == "pending"
    job.resume(by="ops")
    assert drive_with(job, worker).status == "completed"


def test_a_running_step_of_a_paused_job_finishes_and_nothing_follows(worker):
    world.doings["pause"] = lambda context: job.pause()
    graph = Graph()
    graph.function("a", "do", what="pause") >> graph.function("b", "say")
    job = submit(graph)
    run_once(job, worker, "a")
    assert statuses(job) == {"a": "completed", "b": "ready"}
    job.resume()
    assert drive_with(job, worker).status == "completed"


def test_a_signal_to_a_paused_job_is_kept_and_acts_on_resume(drive):
    job = drive(Job.objects.submit("wait"))
    job.pause()
    assert job.signal("go", "came") is True
    assert drive(job).status != "completed"
    job.resume()
    assert (drive(job).status, job.result) == ("completed", "came")


def test_a_timer_of_a_paused_job_fires_and_acts_on_resume(drive, clock):
    graph = Graph()
    graph.wait("go", signal="go", timeout="1h", on_timeout="continue")
    job = drive(submit(graph))
    job.pause()
    clock.forward(hours=2)
    assert recovery.wake_due() == 1
    assert drive(job).status != "completed"
    job.resume()
    assert drive(job).status == "completed"


def test_pausing_and_resuming_twice_is_told_once():
    job = Job.objects.submit("echo")
    for verb in (job.pause, job.pause, job.resume, job.resume):
        verb()
    assert [type for type in told(job) if type.startswith("job_p") or type.startswith("job_r")] == [
        "job_paused",
        "job_resumed",
    ]
