"""A graph written in Python is the wire form that its author meant."""

from datetime import timedelta

import pytest

from runtime.graph import Graph, GraphInvalid, TaskGraph
from tests.pure import graphs


def test_the_refund_example_in_python() -> None:
    g = Graph()
    order = g.tool("order", "query_order", id="${input.order_id}")
    big = g.condition("big", "order.amount > 100.0")
    ok = g.approval("ok", prompt="Refund ${order.amount}?", schema={}, timeout="2d")
    refund = g.tool("refund", "refund", order="${order.id}")
    order >> big
    big.when(True) >> ok
    ok.approved >> refund
    big.when(False) >> refund
    g.result("${refund}")

    assert g.build() == graphs.refund()


def test_edges_by_name_and_by_node_are_the_same() -> None:
    def nodes(g: Graph) -> None:
        g.condition("big", "true")
        g.tool("a", "t")
        g.tool("b", "t")

    one, two = Graph(), Graph()
    nodes(one)
    nodes(two)
    one.edge("big", "a", when=False)
    one.edge("a", "b")
    big, a, b = (two.handle(key) for key in ("big", "a", "b"))
    two.edge(big.when(False), a)
    two.edge(a, b)

    assert one.build() == two.build()


def test_a_line_a_fan_and_a_join() -> None:
    g = Graph()
    a, b, c, d, e = (g.tool(key, "t") for key in "abcde")
    a >> [b, c] >> d
    d >> e

    assert [(edge["from"], edge["to"]) for edge in g.build()["edges"]] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "d"),
        ("c", "d"),
        ("d", "e"),
    ]


def test_a_reference_brings_its_edge_along() -> None:
    g = Graph()
    g.tool("a", "t")
    g.tool("b", "t", x="${a.x}")
    g.llm("c", "Sum up ${a.x} and ${b.x}")
    g.condition("d", "c.score > 1")
    g.wait("e", signal="paid:${d}")

    assert [(edge["from"], edge["to"]) for edge in g.build()["edges"]] == [
        ("a", "b"),
        ("b", "c"),
        ("c", "d"),
        ("d", "e"),
    ]
    assert TaskGraph.parse(g.build()).keys == ["a", "b", "c", "d", "e"]


def test_a_reference_brings_no_edge_where_a_way_already_leads() -> None:
    g = Graph()
    g.tool("a", "t")
    big = g.condition("big", "a.x > 1")
    b = g.tool("b", "t", x="${a.x}")
    big.when(True) >> b

    assert g.build()["edges"] == [{"from": "big", "to": "b", "when": True}, {"from": "a", "to": "big"}]


def test_nodes_stand_for_their_results() -> None:
    g = Graph()
    a = g.tool("a", "t")
    g.tool(
        "b", "t", whole=a, part=a.ref("items[0].id"), first=a.ref("[0]"), nested={"in": [a]}, text=f"<{a}>"
    )
    g.result(a)

    assert g.build()["nodes"][1]["inputs"] == {
        "whole": "${a}",
        "part": "${a.items[0].id}",
        "first": "${a[0]}",
        "nested": {"in": ["${a}"]},
        "text": "<${a}>",
    }
    assert g.build()["result"] == "${a}"


def test_common_keys_are_not_inputs() -> None:
    g = Graph()
    g.tool("a", "t", timeout=timedelta(minutes=1), retry={"max_attempts": 2}, queue="heavy", x=None)
    g.tool("b", "t", inputs={"timeout": 7}, y=1)

    assert g.build()["nodes"] == [
        {
            "id": "a",
            "kind": "tool",
            "tool": "t",
            "inputs": {"x": None},
            "timeout": 60.0,
            "retry": {"max_attempts": 2},
            "queue": "heavy",
        },
        {"id": "b", "kind": "tool", "tool": "t", "inputs": {"timeout": 7, "y": 1}},
    ]


def test_functions_go_by_their_name() -> None:
    def summarise() -> None: ...

    g = Graph()
    g.function("a", summarise, x=1)
    g.function("b", "summarise")

    assert [node["function"] for node in g.build()["nodes"]] == ["summarise", "summarise"]


def test_kinds_of_ones_own() -> None:
    g = Graph()
    g.node("a", "shout", text="hello", join="any")

    assert g.build()["nodes"] == [{"id": "a", "kind": "shout", "text": "hello", "join": "any"}]


def test_mistakes_are_found_by_parse_and_not_by_the_builder() -> None:
    g = Graph()
    a = g.tool("a", "t", x="${b.x}", y="${never closed", z="${nowhere}")
    g.tool("b", "t", x="${a.x}")
    g.tool("b", "t")
    a >> a

    with pytest.raises(GraphInvalid):
        TaskGraph.parse(g.build())


def test_references_that_form_a_cycle_are_named_as_one() -> None:
    g = Graph()
    g.tool("a", "t", x="${b.x}")
    g.tool("b", "t", x="${a.x}")

    with pytest.raises(GraphInvalid, match="a → b → a"):
        TaskGraph.parse(g.build())


def test_a_long_line_of_references_is_built_in_linear_time() -> None:
    g = Graph()
    for number in range(20_000):
        g.tool(f"n{number}", "t", x=f"${{n{number - 1}.x}}" if number else 0)

    assert len(g.build()["edges"]) == 19_999
