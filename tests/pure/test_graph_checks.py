"""A graph that cannot run is refused, with every fault and its place, before it costs anything."""

import json
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import expressions
from runtime.graph import GraphInvalid, Problem, TaskGraph
from tests.pure import graphs
from tests.pure.graphs import edge, tool

HELLO = {"role": "user", "content": "hello"}


class Shout:
    """A kind of somebody's own."""

    outcomes = ("loud", "quiet")
    literals = ("template",)

    def validate(self, config: Mapping[str, Any]) -> Iterable[Problem]:
        if "text" not in config:
            yield Problem("text", "missing_key", "a shout needs a text")


def refusal(data: Any, **registries: Any) -> list[Problem]:
    with pytest.raises(GraphInvalid) as refused:
        TaskGraph.parse(data, **registries)
    return refused.value.problems


def faults(data: Any, **registries: Any) -> list[tuple[str, str]]:
    return [(problem.path, problem.code) for problem in refusal(data, **registries)]


def one(node: dict[str, Any]) -> dict[str, Any]:
    return {"nodes": [node]}


def wait(key: str, **keys: Any) -> dict[str, Any]:
    return {"id": key, "kind": "wait", "signal": "s", **keys}


def approval(key: str, **keys: Any) -> dict[str, Any]:
    return {"id": key, "kind": "approval", "prompt": "?", **keys}


@pytest.mark.parametrize(
    ("data", "path", "code"),
    [
        ([], "", "not_object"),
        (None, "", "not_object"),
        ({}, "nodes", "no_nodes"),
        ({"nodes": []}, "nodes", "no_nodes"),
        ({"nodes": {}}, "nodes", "no_nodes"),
        ({"nodes": [tool("a")], "edges": {}}, "edges", "not_list"),
        ({"nodes": [tool("a")], "steps": []}, "steps", "unknown_key"),
        ({"nodes": ["a"]}, "nodes[0]", "not_object"),
        (one({"kind": "tool", "tool": "t"}), "nodes[0].id", "bad_id"),
        (one(tool("a-b")), "nodes[0].id", "bad_id"),
        (one(tool("1a")), "nodes[0].id", "bad_id"),
        (one(tool("é")), "nodes[0].id", "bad_id"),
        (one(tool("a\n")), "nodes[0].id", "bad_id"),
        (one(tool("a" * 101)), "nodes[0].id", "bad_id"),
        (one({**tool("a"), "id": 7}), "nodes[0].id", "bad_id"),
        (one(tool("input")), "nodes[0].id", "reserved_id"),
        (one(tool("if")), "nodes[0].id", "reserved_id"),
        ({"nodes": [tool("a"), tool("a")]}, "nodes[1].id", "duplicate_id"),
        (one({"id": "a"}), "nodes[0].kind", "missing_key"),
        (one({"id": "a", "kind": "magic"}), "nodes[0].kind", "unknown_kind"),
        (one({"id": "a", "kind": ["tool"]}), "nodes[0].kind", "missing_key"),
        (one({"id": "a", "kind": "tool"}), "nodes[0].tool", "missing_key"),
        (one(tool("a", if_="x")), "nodes[0].if_", "unknown_key"),
        (one(tool("a", inputs=[])), "nodes[0].inputs", "bad_value"),
        (one(tool("a", tool="")), "nodes[0].tool", "bad_value"),
        (one(tool("a", join="some")), "nodes[0].join", "bad_value"),
        (one(tool("a", join=["all"])), "nodes[0].join", "bad_value"),
        (one(tool("a", join={"n_of": 0})), "nodes[0].join", "bad_value"),
        (one(tool("a", join={"n_of": True})), "nodes[0].join", "bad_value"),
        (one(tool("a", join={"n_of": 1})), "nodes[0].join.n_of", "join_too_large"),
        (one(tool("a", timeout="soon")), "nodes[0].timeout", "bad_value"),
        (one(tool("a", timeout=-1)), "nodes[0].timeout", "bad_value"),
        (one(tool("a", retry={"max_attempts": 0})), "nodes[0].retry", "bad_value"),
        (one(tool("a", retry={"attempts": 3})), "nodes[0].retry", "bad_value"),
        (one(tool("a", retry={"backoff": "x"})), "nodes[0].retry", "bad_value"),
        (one(tool("a", queue="a b")), "nodes[0].queue", "bad_value"),
        (one(tool("a", priority=1.5)), "nodes[0].priority", "bad_value"),
        (one({"id": "a", "kind": "llm"}), "nodes[0]", "bad_keys"),
        (one({"id": "a", "kind": "llm", "prompt": "x", "messages": [HELLO]}), "nodes[0]", "bad_keys"),
        (one({"id": "a", "kind": "llm", "messages": [{"role": "user"}]}), "nodes[0].messages", "bad_value"),
        (one(wait("a", on_timeout="fail")), "nodes[0]", "bad_keys"),
        (one(wait("a", timeout=1, on_timeout="reject")), "nodes[0].on_timeout", "bad_value"),
        (one(approval("a", approvers={"user": []})), "nodes[0].approvers", "bad_value"),
        (one(tool("a", inputs={"x": ["ok", "${b.c}"]})), "nodes[0].inputs.x[1]", "unknown_reference"),
        (one(tool("a", inputs={"x": "${a.c}"})), "nodes[0].inputs.x", "not_upstream"),
        (one(tool("a", inputs={"x": "${a >}"})), "nodes[0].inputs.x", "bad_expression"),
        (one(tool("a", inputs={"x": "${input"})), "nodes[0].inputs.x", "bad_expression"),
        (one({"id": "a", "kind": "condition", "if": "1 +"}), "nodes[0].if", "bad_expression"),
        (one({"id": "a", "kind": "condition", "if": "b > 1"}), "nodes[0].if", "unknown_reference"),
        ({**one(tool("a")), "result": {"x": "${b}"}}, "result.x", "unknown_reference"),
        ({**one(tool("a")), "result": "${a"}, "result", "bad_expression"),
        (one(tool("a", inputs={"x": math.nan})), "nodes[0].inputs.x", "not_json"),
        (one(tool("a", inputs={"x": {"y": "\0"}})), "nodes[0].inputs.x.y", "not_json"),
        (one(tool("a", inputs={"x": "\ud800"})), "nodes[0].inputs.x", "not_json"),
        (one(tool("a", inputs={"x": "y" * 10_000_000})), "nodes[0]", "too_large"),
        ('{"nodes": [1], "nodes": [2]}', "", "not_json"),
        ('{"nodes": [{"id": "a", "id": "b"}]}', "nodes[0]", "not_json"),
        ('{"nodes":' + "[" * 1_000_000, "", "not_json"),
        ("nodes", "", "not_json"),
    ],
)  # fmt: skip
def test_bad_graphs_are_refused_with_the_place(data: Any, path: str, code: str) -> None:
    began = time.process_time()

    assert (path, code) in faults(data)
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    ("bad", "path", "code"),
    [
        ("a", "edges[0]", "not_object"),
        ({"from": "a"}, "edges[0].to", "bad_id"),
        (edge("a", "x"), "edges[0].to", "unknown_node"),
        (edge("x", "b"), "edges[0].from", "unknown_node"),
        ({"from": ["a"], "to": "b"}, "edges[0].from", "bad_id"),
        (edge("a", "b", on="x"), "edges[0].on", "unknown_key"),
        (edge("a", "b", when="true"), "edges[0].when", "bad_when"),
        (edge("a", "b", when=True), "edges[0].when", "bad_when"),
        (edge("a", "b", when=None), "edges[0].when", "bad_value"),
        (edge("a", "b", when=["failed"]), "edges[0].when", "bad_value"),
        (edge("yes", "b", when="approved"), "edges[0].when", "bad_when"),
        (edge("yes", "b", when=1), "edges[0].when", "bad_value"),
        (edge("ok", "b", when=False), "edges[0].when", "bad_when"),
        (edge("call", "b", when="approved"), "edges[0].when", "bad_when"),
        (edge("a", "a"), "nodes[0]", "cycle"),
    ],
)
def test_bad_edges_are_refused_with_the_place(bad: Any, path: str, code: str) -> None:
    nodes = [
        tool("a"),
        tool("b"),
        {"id": "yes", "kind": "condition", "if": "true"},
        approval("ok"),
        wait("call"),
    ]

    assert faults({"nodes": nodes, "edges": [bad]}) == [(path, code)]


@pytest.mark.parametrize("again", [{}, {"when": "approved"}])
def test_the_same_edge_twice_is_refused(again: dict[str, Any]) -> None:
    graph = graphs.refund()
    graph["edges"].append(edge("ok", "refund", **again))

    assert faults(graph) == [("edges[4]", "duplicate_edge")]


def test_a_cycle_is_named() -> None:
    nodes = [tool(key) for key in "abcde"]
    edges = [edge("a", "b"), edge("b", "c"), edge("c", "d"), edge("d", "b"), edge("d", "e")]
    (problem,) = refusal({"nodes": nodes, "edges": edges})

    assert problem.code == "cycle"
    assert "b → c → d → b" in problem.message


def test_a_long_cycle_is_named_shortly() -> None:
    graph = graphs.chain(20_000)
    graph["edges"].append(edge("n19999", "n0"))
    (problem,) = refusal(graph)

    assert problem.code == "cycle"
    assert len(problem.message) < 200


def test_every_fault_is_named_at_once_but_not_without_end() -> None:
    nodes = [tool(f"n{number}", tool="unknown") for number in range(1000)]
    problems = refusal({"nodes": nodes}, tools=["lookup"])

    assert len(problems) == 50
    assert "unknown tool 'unknown' (known: lookup)" in str(problems[0])


def test_registries_are_consulted() -> None:
    call = {"id": "f", "kind": "function", "function": "gone"}

    assert faults(one(call), functions={"here"}) == [("nodes[0].function", "unknown_function")]
    assert faults(one(tool("a")), tools={}) == [("nodes[0].tool", "unknown_tool")]
    assert TaskGraph.parse(one(call)).keys == ["f"]


def test_a_kind_of_ones_own_says_what_is_wrong_with_its_nodes() -> None:
    kinds = {"shout": Shout()}
    good = {"id": "a", "kind": "shout", "text": "${input.x}", "template": "${not an expression", "volume": 11}

    assert faults(one({"id": "a", "kind": "shout"}), kinds=kinds) == [("nodes[0].text", "missing_key")]
    assert faults(one(good)) == [("nodes[0].kind", "unknown_kind")]
    assert TaskGraph.parse(one(good), kinds=kinds).plan().steps[0].config["volume"] == 11
    leave = [edge("a", "b", when="loud"), edge("a", "b", when="failed")]
    assert TaskGraph.parse({"nodes": [good, tool("b")], "edges": leave}, kinds=kinds).keys == ["a", "b"]


def test_a_built_in_kind_is_asked_too() -> None:
    assert faults(one(tool("a")), kinds={"tool": Shout()}) == [("nodes[0].text", "missing_key")]


class Reader:
    """A kind that reads its node's expressions."""

    def validate(self, config: Mapping[str, Any]) -> Iterable[Problem]:
        expressions.references(config)
        return ()


def test_kinds_are_asked_only_of_nodes_that_can_be_read() -> None:
    bad = one(tool("a", inputs={"x": "${1 +}"}))

    assert faults(bad, kinds={"tool": Reader()}) == [("nodes[0].inputs.x", "bad_expression")]


def test_expressions_are_bounded_together() -> None:
    long = "1" + " + 1" * 900
    nodes = [{"id": f"n{number}", "kind": "condition", "if": f"{number} < {long}"} for number in range(150)]

    began = time.process_time()
    assert [code for _, code in faults({"nodes": nodes})] == ["too_many_expressions"]
    assert time.process_time() - began < 60  # 3 s on an idle machine


def test_a_reference_needs_a_way_that_leads_there() -> None:
    nodes = [
        tool("a"),
        tool("b"),
        tool("c", inputs={"x": "${a.x}", "y": "${b.x}"}),
        tool("d", inputs={"x": "${a.x}"}),
    ]
    edges = [edge("b", "c"), edge("c", "d")]

    assert faults({"nodes": nodes, "edges": edges}) == [
        ("nodes[2].inputs.x", "not_upstream"),
        ("nodes[3].inputs.x", "not_upstream"),
    ]
    assert TaskGraph.parse({"nodes": nodes, "edges": [*edges, edge("a", "b")]}).keys == ["a", "b", "c", "d"]


@given(graphs.dags(), st.data())
def test_a_reference_against_the_stream_is_always_found(data: dict[str, Any], draws: st.DataObject) -> None:
    above: dict[str, set[str]] = {}
    for key in TaskGraph.parse(data).keys:
        parents = {edge["from"] for edge in data["edges"] if edge["to"] == key}
        above[key] = parents.union(*(above[parent] for parent in parents))
    node = draws.draw(st.sampled_from(data["nodes"]))
    name = draws.draw(st.sampled_from(sorted(above)))
    node["inputs"]["extra"] = f"${{{name}.x}}"

    if name in above[node["id"]]:
        TaskGraph.parse(data)
    else:
        assert [code for _, code in faults(data)] == ["not_upstream"]


def test_the_limit_is_counted_first() -> None:
    assert faults({"nodes": [object()] * 100_000}) == [("nodes", "too_many_nodes")], (
        "nobody looks at the nodes"
    )
    assert faults({"nodes": [tool("a"), tool("b")]}, limit=1) == [("nodes", "too_many_nodes")]
    assert faults({"nodes": [tool("a")], "edges": [0] * 100_001}) == [("edges", "too_many_edges")]


@pytest.mark.parametrize(
    "graph",
    [
        graphs.chain(20_000),
        graphs.chain(20_000, back=2),
        graphs.chain(20_000, back=10_000),
        graphs.fan(19_998),
    ],
    ids=["chain", "chain back 2", "chain back 10000", "fan"],
)
def test_a_graph_as_large_as_the_limit_is_checked_in_about_a_second(graph: dict[str, Any]) -> None:
    began = time.process_time()
    TaskGraph.parse(graph)

    assert time.process_time() - began < 20  # 1 s on an idle machine; by pairs of nodes it would be minutes


def test_a_graph_of_100_000_nodes_in_a_text_is_refused_in_about_a_second() -> None:
    text = json.dumps(graphs.chain(100_000))
    began = time.process_time()

    assert faults(text) == [("nodes", "too_many_nodes")]
    assert time.process_time() - began < 20  # 1 s on an idle machine


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["a", "b", "tool", "${a}", "${", "when"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "kind", "tool", "inputs", "from", "to", "when", "join", "retry"]), inner
        )
    ),
    max_leaves=10,
)


@given(
    st.fixed_dictionaries(
        {"nodes": st.lists(JUNK, max_size=3)}, optional={"edges": st.lists(JUNK), "result": JUNK}
    )
)
def test_junk_is_refused_and_nothing_else_happens(data: Any) -> None:
    try:
        TaskGraph.parse(data).plan()
    except GraphInvalid as refused:
        assert refused.problems
        assert len(str(refused)) < 5000


@given(graphs.dags(), st.data())
def test_a_graph_with_one_thing_replaced_is_refused_or_planned(
    data: dict[str, Any], draws: st.DataObject
) -> None:
    holder: Any = draws.draw(st.sampled_from([*data["nodes"], *data["edges"]]))
    holder[draws.draw(st.sampled_from([*holder, "join", "retry", "timeout", "when"]))] = draws.draw(JUNK)

    try:
        TaskGraph.parse(data).plan()
    except GraphInvalid as refused:
        assert all(problem.path.startswith(("nodes", "edges")) for problem in refused.problems)
