"""Graphs to test with: small ones by hand, large ones by shape, random ones by hypothesis."""

from typing import Any

from hypothesis import strategies as st


def tool(key: str, **keys: Any) -> dict[str, Any]:
    return {"id": key, "kind": "tool", "tool": "lookup", **keys}


def edge(parent: str, child: str, **keys: Any) -> dict[str, Any]:
    return {"from": parent, "to": child, **keys}


def refund() -> dict[str, Any]:
    """The example of the documentation."""
    return {
        "nodes": [
            {"id": "order", "kind": "tool", "tool": "query_order", "inputs": {"id": "${input.order_id}"}},
            {"id": "big", "kind": "condition", "if": "order.amount > 100.0"},
            {
                "id": "ok",
                "kind": "approval",
                "prompt": "Refund ${order.amount}?",
                "schema": {},
                "timeout": "2d",
            },
            {"id": "refund", "kind": "tool", "tool": "refund", "inputs": {"order": "${order.id}"}},
        ],
        "edges": [
            {"from": "order", "to": "big"},
            {"from": "big", "to": "ok", "when": True},
            {"from": "ok", "to": "refund", "when": "approved"},
            {"from": "big", "to": "refund", "when": False},
        ],
        "result": "${refund}",
    }


def chain(length: int, back: int = 1) -> dict[str, Any]:
    """A straight line in which each node refers to the one `back` places before it."""
    nodes = [tool(f"n{number}", inputs={"x": _reference(number - back)}) for number in range(length)]
    return {"nodes": nodes, "edges": [edge(f"n{number - 1}", f"n{number}") for number in range(1, length)]}


def fan(width: int) -> dict[str, Any]:
    """One node, `width` after it, one that joins them and refers to all."""
    middle = [f"m{number}" for number in range(width)]
    inputs = {key: f"${{{key}.x}}" for key in middle}
    nodes = [tool("first"), *(tool(key) for key in middle), tool("last", inputs=inputs)]
    edges = [edge("first", key) for key in middle] + [edge(key, "last") for key in middle]
    return {"nodes": nodes, "edges": edges}


def _reference(number: int) -> str:
    return f"${{n{number}.x}}" if number >= 0 else "${input.x}"


@st.composite
def dags(draw: st.DrawFn) -> dict[str, Any]:
    """Edges lead from earlier to later; references go to nodes that are upstream."""
    count = draw(st.integers(1, 12))
    above: list[set[int]] = []
    nodes, edges = [], []
    for number in range(count):
        parents = draw(st.sets(st.integers(0, number - 1), max_size=4)) if number else set()
        above.append(parents.union(*(above[parent] for parent in parents)))
        sources = draw(st.sets(st.sampled_from(sorted(above[number])))) if above[number] else set()
        inputs = {f"from_{source}": f"${{n{source}.value}}" for source in sorted(sources)}
        nodes.append(tool(f"n{number}", inputs=inputs))
        edges += [edge(f"n{parent}", f"n{number}") for parent in sorted(parents)]
    return {"nodes": draw(st.permutations(nodes)), "edges": draw(st.permutations(edges))}
