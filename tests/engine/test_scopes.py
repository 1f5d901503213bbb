"""Maps: copies of a sub-graph, one for each item. What runs when, what comes out, and what a failure ends."""

from typing import Any

import pytest

from runtime.graph import Graph, GraphInvalid
from runtime.models import Job, Scope, Step
from runtime.outcomes import Waiting
from runtime.ports import CrashPoint
from tests.agents_app.world import world
from tests.engine.driving import claim, crash_at, last_error, statuses, step_of, submit, told, why
from tests.engine.driving import drive as drive_with
from tests.engine.scoped import body, during, failing_for, mapping, most_at_once, run_alone, scopes

# Items and results


@pytest.mark.pg_slice
def test_a_sub_graph_runs_for_each_item_and_the_results_come_in_item_order(worker):
    job = submit(mapping(), ["a", "b", "c", "d"])
    run_alone(job, worker, "each")
    for key in ("each[2].it", "each[0].it", "each[3].it", "each[1].it"):
        step = claim(job, worker, key)
        step.complete(f"from {key}")
    drive_with(job, worker)
    assert job.status == "completed"
    assert job.result == [f"from each[{number}].it" for number in range(4)]


def test_a_map_of_nothing_completes_with_nothing(drive):
    job = drive(submit(mapping(), []))
    assert (job.status, job.result) == ("completed", [])
    assert told(job, step="each") == ["step_claimed", "step_completed"]
    assert scopes(job) == []


def test_what_a_copy_may_speak_of_is_its_item_its_place_the_input_and_what_comes_before_the_map(drive):
    graph, inner = Graph(), Graph()
    base = graph.function("base", "add", one=100, other=0)
    one = inner.function("one", "add", one="${item.n}", other="${index}")
    two = inner.function("two", "add", one=one, other=base)
    inner.result(
        {"sum": "${two}", "item": "${item.n}", "of": "${input.name}", "place": "${index}", "base": "${base}"}
    )
    graph.map("each", "${input.rows}", inner)
    job = drive(submit(graph, {"name": "sheet", "rows": [{"n": 5}, {"n": 7}]}))
    assert job.result == [
        {"sum": 105, "item": 5, "of": "sheet", "place": 0, "base": 100},
        {"sum": 108, "item": 7, "of": "sheet", "place": 1, "base": 100},
    ]
    assert two.id == "two"


def test_items_may_have_a_name_of_their_own(drive):
    graph = mapping(body(value="${order} at ${index}"), **{"as": "order"})
    assert drive(submit(graph, ["x", "y"])).result == ["x at 0", "y at 1"]


def test_an_item_hides_a_step_outside_that_bears_its_name(drive):
    graph = Graph()
    items = graph.function("item", "say", value=["a", "b"])
    graph.map("each", items, body(value="${item}"))
    assert drive(submit(graph)).result == ["a", "b"]


def test_a_step_inside_hides_the_item_of_its_name(drive):
    inner = Graph()
    item = inner.function("item", "say", value="a step")
    inner.function("last", "say", value=item)
    assert drive(submit(mapping(inner), [1])).result == ["a step"]


def test_steps_after_a_map_see_its_results(drive):
    graph = mapping()
    graph.function("after", "say", value={"first": "${each[0]}", "all": "${each}"})
    assert drive(submit(graph, [7, 8])).result == {"first": 7, "all": [7, 8]}


def test_items_may_be_written_into_the_graph(drive):
    graph = Graph()
    graph.map("each", ["${input.a}", {"b": "${input.b}"}, None], body())
    assert drive(submit(graph, {"a": 1, "b": 2})).result == [1, {"b": 2}, None]


@pytest.mark.parametrize("items", [{"a": 1}, "text", 5, None])
def test_items_that_are_no_list_fail_the_map_at_once_and_say_so(items, drive):
    job = drive(submit(mapping(), items))
    assert (job.status, step_of(job, "each").attempt) == ("failed", 1)
    assert "a map needs a list" in why(job)["message"]


def test_the_steps_of_a_copy_follow_its_edges(drive):
    inner = Graph()
    big = inner.condition("big", "item > 10")
    big.when(True) >> inner.function("large", "say", value="large")
    big.when(False) >> inner.function("small", "say", value="small")
    inner.result({"large": "${large}", "small": "${small}"})
    job = drive(submit(mapping(inner), [5, 50]))
    assert job.result == [{"large": None, "small": "small"}, {"large": "large", "small": None}]
    assert statuses(job)["each[0].large"] == statuses(job)["each[1].small"] == "skipped"


def test_a_copy_whose_last_steps_are_skipped_completes_with_null(drive):
    inner = Graph()
    inner.condition("big", "item > 10").when(True) >> inner.function("large", "say", value="large")
    job = drive(submit(mapping(inner), [5, 50]))
    assert (job.status, job.result, scopes(job)) == ("completed", [None, "large"], ["completed", "completed"])


def test_a_copy_may_join_and_its_joins_are_its_own(drive):
    inner = Graph()
    parents = [inner.function(f"p{number}", "say", value="${item}") for number in range(3)]
    parents >> inner.function("end", "say", value="${index}", join={"n_of": 2})
    job = drive(submit(mapping(inner), ["x", "y"]))
    assert (job.status, job.result) == ("completed", [0, 1])
    assert told(job, step="each[1].end") == ["step_claimed", "step_completed"]


def test_a_result_template_that_fails_fails_the_map_and_says_where(drive):
    inner = body()
    inner.result("${it.missing}")
    job = drive(submit(mapping(inner), [{"a": 1}]))
    assert (job.status, why(job)["step"]) == ("failed", "each")
    assert "missing" in why(job)["message"]


def test_each_copy_is_told_of_once_and_the_map_parks_meanwhile(worker):
    job = submit(mapping(max_parallel=2), [1, 2, 3])
    run_alone(job, worker, "each")
    each = step_of(job, "each")
    assert each.waiting_for == "scopes:each"
    assert [(wait.kind, wait.name) for wait in job.waits.open()] == [("scopes", "each")]
    event = job.events.get(type="plan_recorded", step="each")
    assert {key: event.data[key] for key in ("scopes", "max_parallel", "indexed")} == {
        "scopes": 3, "max_parallel": 2, "indexed": 1,
    }  # fmt: skip
    drive_with(job, worker)
    assert told(job, step="each") == [
        "step_claimed", "plan_recorded", "step_parked", "step_resumed", "step_claimed", "step_completed",
    ]  # fmt: skip
    assert job.waits.get().outcome == "expanded"


# Refused at submit


def refusal(graph: Graph) -> dict[str, str]:
    with pytest.raises(GraphInvalid) as refused:
        submit(graph, [])
    return {problem.path: problem.code for problem in refused.value.problems}


def test_a_fault_inside_is_found_at_submit_with_its_place():
    inner = Graph()
    inner.map("inner", "${item}", body("nowhere", value="${item}"))
    found = refusal(mapping(inner))
    assert found == {"nodes[0].graph.nodes[0].graph.nodes[0].function": "unknown_function"}


def test_a_name_that_nobody_binds_is_found_at_submit():
    assert "unknown_reference" in refusal(mapping(body(value="${nobody}"))).values()


def test_what_a_map_binds_is_not_known_beside_it():
    graph = mapping()
    graph.function("after", "say", value="${item}")
    assert refusal(graph) == {"nodes[1].inputs.value": "unknown_reference"}


def test_a_step_inside_a_copy_is_not_known_outside():
    graph = mapping()
    graph.function("after", "say", value="${it}")
    assert "unknown_reference" in refusal(graph).values()


def test_a_reference_to_a_step_that_does_not_come_before_the_map_is_found_at_submit():
    wire = mapping(body(value="${later}")).build()
    wire["nodes"].append({"id": "later", "kind": "function", "function": "say"})
    wire["edges"] = [{"from": "each", "to": "later"}]
    with pytest.raises(GraphInvalid) as refused:
        submit(wire, [])
    assert [problem.code for problem in refused.value.problems] == ["not_upstream"]


# max_parallel


@pytest.mark.parametrize("parallel", [1, 3, 7, 50])
def test_no_more_copies_than_max_parallel_are_ever_under_way(parallel, worker):
    inner = Graph()
    inner.function("one", "say") >> inner.function("two", "say")
    job = submit(mapping(inner, max_parallel=parallel), list(range(7)))
    assert most_at_once(job, worker) == min(parallel, 7)
    assert (job.status, scopes(job)) == ("completed", ["completed"] * 7)


def test_without_a_limit_all_copies_begin_at_once(worker):
    job = submit(mapping(), list(range(30)))
    run_alone(job, worker, "each")
    assert Step.objects.filter(job=job).ready().count() == 30


def test_copies_begin_in_item_order(worker):
    job = submit(mapping(max_parallel=2), list(range(5)))
    run_alone(job, worker, "each")
    began = []
    while ready := list(
        Step.objects.filter(job=job, scope__isnull=False).ready().values_list("key", flat=True)
    ):
        began += [key for key in ready if key not in began]
        claim(job, worker, ready[-1]).complete(1)
    assert began == [f"each[{number}].it" for number in range(5)]
    assert drive_with(job, worker).status == "completed"


def test_a_copy_that_waits_keeps_its_place(drive):
    inner = Graph()
    inner.wait("go", signal="go ${item}")
    job = drive(submit(mapping(inner, max_parallel=2), ["a", "b", "c"]))
    assert scopes(job) == ["running", "running", "pending"]
    job.signal("go c", 3)  # before its wait
    job.signal("go a", 1)
    drive(job)
    assert scopes(job) == ["completed", "running", "completed"]
    job.signal("go b", 2)
    assert drive(job).result == [1, 2, 3]


# Failure


@pytest.mark.pg_slice
def test_the_first_failure_ends_what_has_not_begun_and_fails_the_map_with_its_cause(drive):
    job = drive(submit(mapping(failing_for(2), max_parallel=1), [1, 2, 3, 4]))
    assert (job.status, why(job)["step"], why(job)["type"]) == ("failed", "each", "MapFailed")
    assert (why(job)["index"], why(job)["cause"]["step"]) == (1, "each[1].it")
    assert "2 is bad" in why(job)["cause"]["message"]
    assert scopes(job) == ["completed", "failed", "cancelled", "cancelled"]
    assert statuses(job)["each[3].it"] == "cancelled"
    assert told(job, step="each[3].it") == ["step_cancelled"]


def test_a_failure_cancels_siblings_that_are_ready_blocked_waiting_or_due_later_and_lets_running_ones_finish(
    worker, other
):
    inner = Graph()
    first = inner.function("it", "say")
    first >> inner.function("next", "say")
    inner.approval("ask", prompt="ok?")
    job = submit(mapping(inner), list(range(4)))
    run_alone(job, worker, "each")
    for number in range(4):
        run_alone(job, worker, f"each[{number}].ask")
    running, bad, later = (claim(job, worker, f"each[{number}].it") for number in (0, 1, 2))
    later.retry({"type": "E", "message": "x"})
    bad.fail({"type": "E", "message": "no"})
    assert {key: status for key, status in statuses(job).items() if status != "cancelled"} == {
        "each": "waiting", "each[0].it": "running", "each[1].it": "failed",
    }  # fmt: skip
    assert set(job.waits.filter(kind="approval").values_list("outcome", flat=True)) == {"cancelled"}
    running.complete("done")
    assert drive_with(job, other).status == "failed"
    assert statuses(job)["each[0].it"] == "completed"


@pytest.mark.parametrize("ending", ["retry", "rescue", "time_out"])
def test_a_step_of_a_copy_that_was_told_to_end_never_goes_back_into_the_queue(ending, worker):
    job = submit(mapping(), [1, 2])
    run_alone(job, worker, "each")
    running, bad = claim(job, worker, "each[0].it"), claim(job, worker, "each[1].it")
    bad.fail({"type": "E", "message": "no"})
    getattr(running, ending)(*[{"type": "E", "message": "x"}] * (ending == "retry"))
    assert statuses(job)["each[0].it"] == "cancelled"
    assert drive_with(job, worker).status == "failed"


def test_a_step_of_a_copy_that_was_told_to_end_does_not_wait_for_anybody(worker):
    job = submit(mapping(), [1, 2])
    run_alone(job, worker, "each")
    running, bad = claim(job, worker, "each[0].it"), claim(job, worker, "each[1].it")
    job.signal("go", "kept")
    bad.fail({"type": "E", "message": "no"})
    running.park(Waiting("signal", "go"))
    assert statuses(job)["each[0].it"] == "cancelled"
    assert drive_with(job, worker).status == "failed"
    assert job.signals.get().state == "buffered"


def test_a_map_inside_a_copy_that_was_told_to_end_begins_nothing(worker, other):
    inner = Graph()
    inner.function("it", "say")
    inner.map("deep", [1, 2, 3], body())
    job = submit(mapping(inner), [1, 2])
    run_alone(job, worker, "each")
    with crash_at(CrashPoint.BEFORE_RECORD):
        run_alone(job, worker, "each[0].deep")
    bad = claim(job, other, "each[1].it")
    bad.fail({"type": "E", "message": "no"})
    late = step_of(job, "each[0].deep")
    assert late.status == "running"
    late.rescue()
    assert drive_with(job, other).status == "failed"
    assert not job.steps.filter(key__startswith="each[0].deep[").exists()


def test_a_map_that_expands_in_a_copy_that_was_told_to_end_begins_nothing(worker):
    """The copy is told while the map evaluates its items."""
    inner = Graph()
    inner.function("it", "say")
    inner.map("deep", "${input}", body())
    job = submit(mapping(inner), [1, 2])
    run_alone(job, worker, "each")
    deep, bad = step_of(job, "each[0].deep"), claim(job, worker, "each[1].it")
    during(CrashPoint.BEFORE_RECORD, lambda: bad.fail({"type": "E", "message": "no"}))
    run_alone(job, worker, deep.key)
    assert drive_with(job, worker).status == "failed"
    assert "step_claimed" not in told(job, step="each[0].deep[0].it")
    assert statuses(job)["each[0].deep[0].it"] == "cancelled"


def test_a_running_step_of_a_copy_learns_that_a_sibling_failed(worker, other):
    seen: list[bool] = []

    def look(context: Any, value: Any) -> Any:
        bad.fail({"type": "E", "message": "no"})
        seen.append(context.cancelled)
        worker.beat()
        seen.append(context.cancelled)
        return value

    world.doings["look"] = look
    job = submit(mapping(body("do", what="look", value="${item}")), [1, 2])
    run_alone(job, other, "each")
    bad = claim(job, other, "each[1].it")
    run_alone(job, worker, "each[0].it")
    assert seen == [False, True]
    assert drive_with(job, worker).status == "failed"


def test_an_edge_for_failure_handles_the_failure_of_an_item_inside_its_copy(drive):
    inner = failing_for(2)
    inner.handle("it").failed >> inner.function("mend", "say", value="mended ${item}")
    inner.result({"it": "${it}", "mend": "${mend}"})
    job = drive(submit(mapping(inner), [1, 2, 3]))
    assert job.status == "completed"
    assert job.result == [
        {"it": 1, "mend": None}, {"it": None, "mend": "mended 2"}, {"it": 3, "mend": None},
    ]  # fmt: skip
    assert scopes(job) == ["completed"] * 3


def test_an_edge_for_failure_handles_the_failure_of_the_whole_map(drive):
    graph = mapping(failing_for(2))
    graph.handle("each").failed >> graph.function("mend", "say", value="mended")
    graph.result("${mend}")
    job = drive(submit(graph, [1, 2]))
    assert (job.status, job.result, statuses(job)["each"]) == ("completed", "mended", "failed")


# Completion policies


def policy(items: int, bad: int, **completion: Any) -> Graph:
    return mapping(failing_for(*range(bad)), max_parallel=1, completion=completion)


@pytest.mark.parametrize("bad, status", [(0, "completed"), (2, "completed"), (3, "failed")])
def test_as_many_failures_are_tolerated_as_the_policy_says_and_not_one_more(bad, status, drive):
    job = drive(submit(policy(6, bad, tolerated_failures=2), list(range(6))))
    assert (job.status, scopes(job)) == (
        status,
        ["failed"] * bad + (["completed"] if status == "completed" else ["cancelled"]) * (6 - bad),
    )


@pytest.mark.parametrize(
    "items, percentage, tolerated",
    [(10, 20, 2), (10, 19.9, 1), (25, 10, 2), (100, 7, 7), (3, 33, 0), (3, 34, 1), (4, 0, 0), (4, 100, 4)],
)
def test_a_percentage_tolerates_what_does_not_exceed_it(items, percentage, tolerated, worker):
    for bad in {tolerated, min(tolerated + 1, items)}:
        job = submit(policy(items, bad, tolerated_percentage=percentage), list(range(items)))
        assert drive_with(job, worker).status == ("completed" if bad <= tolerated else "failed"), bad


def test_the_stricter_of_two_tolerances_counts(drive):
    both = {"tolerated_failures": 3, "tolerated_percentage": 20}
    assert drive(submit(policy(10, 2, **both), list(range(10)))).status == "completed"
    assert drive(submit(policy(10, 3, **both), list(range(10)))).status == "failed"


def test_a_map_with_a_policy_tells_what_became_of_each_item(drive):
    job = drive(submit(mapping(failing_for("b"), completion={"tolerated_failures": 1}), ["a", "b", "c"]))
    result: Any = job.result
    (error,) = result.pop("errors")
    assert result == {"results": ["a", None, "c"], "completed": 2, "failed": 1, "cancelled": 0}
    assert (error["index"], error["error"]["step"]) == (1, "each[1].it")


def test_an_empty_map_with_a_policy_tells_so_too(drive):
    job = drive(submit(mapping(completion={"tolerated_failures": 1}), []))
    assert job.result == {"results": [], "errors": [], "completed": 0, "failed": 0, "cancelled": 0}


def test_enough_successes_end_the_others(drive):
    job = drive(submit(mapping(max_parallel=2, completion={"min_successful": 3}), list(range(9))))
    assert (job.status, scopes(job).count("completed"), scopes(job)[:3]) == (
        "completed",
        3,
        ["completed"] * 3,
    )
    assert job.result["cancelled"] == 6
    assert job.result["results"][:4] == [0, 1, 2, None]


@pytest.mark.parametrize("bad, status", [(2, "completed"), (3, "failed")])
def test_a_map_fails_as_soon_as_too_few_can_succeed(bad, status, drive):
    job = drive(submit(policy(5, bad, min_successful=3), list(range(5))))
    assert (job.status, scopes(job).count("failed")) == (status, bad)
    assert "cancelled" in scopes(job) or status == "completed"


def test_more_successes_than_there_are_items_are_never_reached(drive):
    job = drive(submit(mapping(completion={"min_successful": 3}), [1, 2]))
    assert (job.status, why(job)["type"]) == ("failed", "MapFailed")


def test_what_fails_after_enough_have_succeeded_does_not_fail_the_map(worker):
    job = submit(mapping(completion={"min_successful": 1, "tolerated_failures": 0}), [1, 2])
    run_alone(job, worker, "each")
    good, bad = claim(job, worker, "each[0].it"), claim(job, worker, "each[1].it")
    good.complete("enough")
    bad.fail({"type": "E", "message": "too late to matter"})
    assert drive_with(job, worker).status == "completed"
    result: Any = job.result
    assert (result["results"], result["failed"]) == (["enough", None], 0)


def test_a_running_sibling_that_completes_after_enough_have_succeeded_keeps_its_result(worker):
    job = submit(mapping(completion={"min_successful": 1}), [1, 2])
    run_alone(job, worker, "each")
    one, two = claim(job, worker, "each[0].it"), claim(job, worker, "each[1].it")
    one.complete("first")
    two.complete("second")
    drive_with(job, worker)
    assert (job.status, statuses(job)["each[1].it"]) == ("completed", "completed")


# Nested


def nested() -> Graph:
    inner = Graph()
    inner.map("cells", "${row}", body(value="${item}/${index}/${row[0]}"))
    return mapping(inner, **{"as": "row"})


def test_a_map_in_a_map_answers_lists_of_lists(drive):
    job = drive(submit(nested(), [["a", "b"], [], ["c"]]))
    assert job.result == [["a/0/a", "b/1/a"], [], ["c/0/c"]]
    assert statuses(job)["each[0].cells[1].it"] == "completed"
    assert Scope.objects.get(job=job, steps__key="each[0].cells[1].it").prefix == "each[0].cells[1]."


def test_an_inner_map_hides_the_item_of_the_outer_one(drive):
    inner = Graph()
    inner.map("cells", "${item}", body(value="${item}/${index}"))
    assert drive(submit(mapping(inner), [["a"], ["b", "c"]])).result == [["a/0"], ["b/0", "c/1"]]


def test_an_approval_deep_inside_waits_while_its_siblings_finish(drive, boss):
    inner, cell = Graph(), Graph()
    say = cell.function("it", "say", value="${item}")
    big = cell.condition("big", "item > 10")
    ask = cell.approval("ask", prompt="May ${item} of row ${row}?")
    pay = cell.function("pay", "say", value=say)
    big.when(True) >> ask
    ask.approved >> pay
    big.when(False) >> pay
    cell.result("${pay}")
    inner.map("cells", "${row}", cell)
    job = drive(submit(mapping(inner, **{"as": "row"}), [[1, 50], [2, 3]]))
    assert (job.status, job.waits.open().filter(kind="approval").get().prompt) == (
        "waiting",
        "May 50 of row [1,50]?",
    )
    assert scopes(job).count("running") == 2  # the item and the row around it
    before = set(told_with_attempts(job))
    job.decide("each[0].cells[1].ask", approve=True, user=boss)
    assert drive(job).result == [[1, 50], [2, 3]]
    ran = {key for key, type, _ in set(told_with_attempts(job)) - before if type == "step_claimed"}
    assert ran == {"each[0].cells[1].ask", "each[0].cells[1].pay", "each[0].cells", "each"}
    assert max(job.steps.filter(kind="function").values_list("attempt", flat=True)) == 1


def told_with_attempts(job: Job) -> list[tuple[str | None, str, int | None]]:
    return list(job.events.values_list("step", "type", "attempt"))


def test_a_failure_deep_inside_fails_each_map_around_it_with_the_whole_cause(drive):
    inner = Graph()
    inner.map("cells", "${row}", failing_for(3))
    job = drive(submit(mapping(inner, **{"as": "row"}), [[1], [2, 3], [4]]))
    assert job.status == "failed"
    assert why(job)["cause"]["step"] == "each[1].cells"
    assert why(job)["cause"]["cause"]["step"] == "each[1].cells[1].it"
    assert "3 is bad" in why(job)["cause"]["cause"]["message"]


def test_a_failed_outer_copy_ends_what_waits_in_its_inner_maps(worker):
    cell, inner = Graph(), Graph()
    cell.wait("go", signal="go")
    inner.map("cells", [1, 2], cell)
    inner.function("it", "say")
    job = submit(mapping(inner), [1, 2])
    for key in ("each", "each[0].cells", "each[1].cells", "each[0].cells[1].go", "each[1].cells[0].go"):
        run_alone(job, worker, key)
    claim(job, worker, "each[1].it").fail({"type": "E", "message": "no"})
    assert {wait.outcome for wait in job.waits.filter(kind="signal")} == {"cancelled"}
    assert drive_with(job, worker).status == "failed"
    assert sorted(scopes(job)) == ["cancelled"] * 5 + ["failed"]


def test_a_cancelled_job_ends_its_copies(drive):
    inner = Graph()
    inner.wait("go", signal="go")
    job = drive(submit(mapping(inner, max_parallel=1), [1, 2]))
    job.cancel(by="ops")
    assert (job.status, statuses(job)["each[1].go"]) == ("cancelled", "cancelled")


# Paused, crashed


def test_a_map_of_a_paused_job_goes_on_where_it_was(drive):
    inner = Graph()
    inner.wait("go", signal="go ${item}")
    job = drive(submit(mapping(inner, max_parallel=1), [1, 2]))
    job.pause()
    job.signal("go 1", "one")
    job.signal("go 2", "two")
    assert drive(job).status != "completed"
    job.resume()
    assert drive(job).result == ["one", "two"]


@pytest.mark.parametrize("point", [CrashPoint.AFTER_CLAIM, CrashPoint.BEFORE_RECORD, CrashPoint.AFTER_RECORD])
@pytest.mark.parametrize("time", [1, 2])
def test_a_map_whose_worker_is_lost_expands_once_and_collects_once(point, time, worker, other):
    """The first time as it expands, the second as it collects."""
    job = submit(mapping(), [1, 2, 3])
    if time == 2:
        run_alone(job, worker, "each")
        for number in range(3):
            claim(job, worker, f"each[{number}].it").complete(number)
    with crash_at(point):
        run_alone(job, worker, "each")
    for step in job.steps.filter(status="running"):
        step.rescue()
    assert drive_with(job, other).status == "completed"
    assert Scope.objects.filter(job=job).count() == 3
    assert told(job).count("plan_recorded") == 2
    assert told(job, step="each").count("step_completed") == 1


def test_more_copies_than_the_limit_are_refused_before_any_is_made(drive, settings):
    settings.AETHERIS = {**settings.AETHERIS, "MAX_NODES": 50}
    inner = Graph()
    inner.function("a", "say") >> inner.function("b", "say")
    assert drive(submit(mapping(inner), list(range(24)))).status == "completed"
    job = drive(submit(mapping(inner), list(range(26))))
    assert (job.status, job.steps.count(), last_error(job, "each")["type"]) == ("failed", 1, "Permanent")
    assert "26 × 2 steps; the limit is 50" in why(job)["message"]


def test_keys_that_would_be_too_long_fail_the_map_and_say_so(drive):
    inner, long = body(), "x" * 100
    for _ in range(3):
        around = Graph()
        around.map(long, [1], inner)
        inner = around
    job = drive(submit(inner))
    assert job.status == "failed"
    assert "255" in str(job.error)
