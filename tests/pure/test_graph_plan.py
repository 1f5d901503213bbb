"""A graph that passed is a plan: the same steps and edges on every machine."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.graph import PlannedEdge, TaskGraph
from tests.pure import graphs


def test_the_refund_example() -> None:
    plan = TaskGraph.parse(graphs.refund(), tools=["query_order", "refund"], functions=[]).plan()

    assert [(step.key, step.kind, step.refs, step.parents) for step in plan.steps] == [
        ("order", "tool", [], 0),
        ("big", "condition", ["order"], 1),
        ("ok", "approval", ["order"], 1),
        ("refund", "tool", ["order"], 2),
    ]
    assert plan.edges == [
        PlannedEdge("order", "big", None),
        PlannedEdge("big", "ok", "true"),
        PlannedEdge("ok", "refund", "approved"),
        PlannedEdge("big", "refund", "false"),
    ]
    assert plan.steps[2].timeout_seconds == 2 * 86400
    assert plan.steps[3].config == {"tool": "refund", "inputs": {"order": "${order.id}"}}
    assert plan.result == "${refund}"


def test_the_columns_of_a_step() -> None:
    keys = {"queue": "heavy", "priority": 5, "timeout": "90s", "retry": {"max_attempts": 7, "backoff": "1s"}}
    (step,) = TaskGraph.parse({"nodes": [graphs.tool("a", **keys)]}).plan().steps

    assert (step.queue, step.priority, step.timeout_seconds, step.max_attempts) == ("heavy", 5, 90, 7)
    assert step.config == {"tool": "lookup", "timeout": "90s", "retry": {"max_attempts": 7, "backoff": "1s"}}


def test_what_a_step_leaves_unsaid() -> None:
    (step,) = TaskGraph.parse({"nodes": [graphs.tool("a")]}).plan().steps

    assert (step.queue, step.priority, step.timeout_seconds, step.max_attempts) == (None, None, None, None)
    assert (step.join, step.join_needed, step.parents) == ("all", 0, 0)


@pytest.mark.parametrize(
    ("join", "planned"),
    [("all", ("all", 3)), ("any", ("any", 1)), ({"n_of": 2}, ("n_of", 2)), (None, ("all", 3))],
)
def test_joins(join: Any, planned: tuple[str, int]) -> None:
    keys = {"join": join} if join else {}
    nodes = [graphs.tool("a"), graphs.tool("b"), graphs.tool("c"), graphs.tool("d", **keys)]
    edges = [graphs.edge(key, "d") for key in "abc"]
    step = TaskGraph.parse({"nodes": nodes, "edges": edges}).plan().steps[-1]

    assert (step.join, step.join_needed) == planned
    assert step.parents == 3


def test_leaving_an_approval_means_that_it_was_approved() -> None:
    graph = graphs.refund()
    del graph["edges"][2]["when"]

    assert PlannedEdge("ok", "refund", "approved") in TaskGraph.parse(graph).plan().edges


def test_a_condition_may_be_left_either_way() -> None:
    graph = graphs.refund()
    graph["edges"][1:] = [graphs.edge("big", "ok"), graphs.edge("big", "refund", when="failed")]

    assert [edge.when for edge in TaskGraph.parse(graph).plan().edges] == [None, None, "failed"]


@given(graphs.dags())
def test_steps_come_after_their_parents_and_what_they_refer_to(data: dict[str, Any]) -> None:
    graph = TaskGraph.parse(data)
    plan = graph.plan()
    place = {step.key: number for number, step in enumerate(plan.steps)}

    assert sorted(place) == sorted(node["id"] for node in data["nodes"])
    assert all(place[edge.parent_key] < place[edge.child_key] for edge in plan.edges)
    assert all(place[name] < place[step.key] for step in plan.steps for name in step.refs)
    assert [step.parents for step in plan.steps] == [
        sum(edge["to"] == step.key for edge in data["edges"]) for step in plan.steps
    ]


def _shuffled(value: Any, draw: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shuffled(value[key], draw) for key in draw(st.permutations(list(value)))}
    return [_shuffled(item, draw) for item in value] if isinstance(value, list) else value


@given(graphs.dags(), st.data())
def test_the_digest_does_not_depend_on_the_order_of_keys(data: dict[str, Any], draws: st.DataObject) -> None:
    graph = TaskGraph.parse(data)
    other = TaskGraph.parse(json.dumps(_shuffled(data, draws.draw)))

    assert other.digest == graph.digest == graph.plan().digest
    assert other.plan() == graph.plan()


def test_the_digest_depends_on_everything_else() -> None:
    changed = graphs.refund()
    changed["nodes"][0]["inputs"]["id"] = "${input.order}"

    assert TaskGraph.parse(changed).digest != TaskGraph.parse(graphs.refund()).digest


def test_the_wire_form_is_given_back_as_it_came() -> None:
    graph = TaskGraph.parse(graphs.refund())

    assert graph.to_json() == graphs.refund()
    assert TaskGraph.parse(json.dumps(graph.to_json())).plan() == graph.plan()
