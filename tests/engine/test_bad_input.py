"""Bad input gets an error that names the place, at once, and harms no other job."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runtime.exceptions import AgentNotFound, InputInvalid
from runtime.graph import GraphInvalid
from runtime.models import Job
from tests.engine.driving import submit


@pytest.fixture(autouse=True)
def harmless(drive: Callable[..., Job]) -> Iterator[None]:
    """It is refused after little work (a second at most, on an idle machine), leaves no row, and other jobs go on."""
    before = Job.objects.submit("echo", 1)
    begun = time.process_time()
    yield
    assert time.process_time() - begun < 10
    assert Job.objects.get() == before
    assert drive(before).status == "completed"


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"in": value}
    return value


def function(key: str = "a", **keys: Any) -> dict[str, Any]:
    return {"id": key, "kind": "function", "function": "say", **keys}


def edge(parent: str, child: str, **keys: Any) -> dict[str, Any]:
    return {"from": parent, "to": child, **keys}


INPUTS: dict[str, tuple[Callable[[], Any], str]] = {
    "nul": (lambda: {"order": [{"id": "a\0b"}]}, "input.order[0].id"),
    "lone surrogate": (lambda: {"name": "\ud800"}, "input.name"),
    "10 MB": (lambda: {"text": "x" * 10_000_000}, "input"),
    "10 MB of small values": (lambda: [0] * 5_000_000, "input"),
    "nesting of 5,000": (lambda: nested(5000), "input"),
    "nan": (lambda: {"a": [1, float("nan")]}, "input.a[1]"),
    "set": (lambda: {"a": {1}}, "input.a"),
    "bytes": (lambda: b"x", "input"),
    "key": (lambda: {"a": {1: 2}}, "input.a"),
}


@pytest.mark.pg_slice
@pytest.mark.parametrize("name", INPUTS)
def test_a_value_that_cannot_be_kept_is_refused_with_its_place(name):
    make, place = INPUTS[name]
    with pytest.raises(InputInvalid) as refusal:
        Job.objects.submit("echo", make())
    assert refusal.value.path == place
    assert place in str(refusal.value)


GRAPHS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "cycle": (
        lambda: {"nodes": [function("a"), function("b")], "edges": [edge("a", "b"), edge("b", "a")]},
        "nodes[0]", "a → b → a",
    ),
    "unknown tool": (lambda: {"nodes": [{"id": "a", "kind": "tool", "tool": "nope"}]}, "nodes[0].tool", "charge"),
    "wrong argument": (
        lambda: {"nodes": [{"id": "a", "kind": "tool", "tool": "charge", "inputs": {"amount": "lots"}}]},
        "nodes[0].inputs.amount", "number",
    ),
    "argument too many": (
        lambda: {"nodes": [{"id": "a", "kind": "tool", "tool": "charge", "inputs": {"sum": 1}}]},
        "nodes[0].inputs.sum", "amount",
    ),
    "unknown function": (lambda: {"nodes": [function("a", function="nope")]}, "nodes[0].function", "nope"),
    "unknown kind": (lambda: {"nodes": [{"id": "a", "kind": "magic"}]}, "nodes[0].kind", "magic"),
    "duplicate id": (lambda: {"nodes": [function("a"), function("a")]}, "nodes[1].id", "a"),
    "too many nodes": (lambda: {"nodes": [function(f"n{n}") for n in range(20_001)]}, "nodes", "20000"),
    "100,000 nodes": (lambda: {"nodes": [{}] * 100_000}, "nodes", "20000"),
    "edge to nowhere": (lambda: {"nodes": [function("a")], "edges": [edge("a", "b")]}, "edges[0].to", "b"),
    "reference to nowhere": (
        lambda: {"nodes": [function("a", inputs={"value": "${b.x}"})]}, "nodes[0].inputs.value", "b",
    ),
    "not upstream": (
        lambda: {"nodes": [function("a", inputs={"value": "${b}"}), function("b")]}, "nodes[0].inputs.value", "b",
    ),
    "nul": (lambda: {"nodes": [function("a", inputs={"value": "\0"})]}, "nodes[0].inputs.value", "NUL"),
    "surrogate": (lambda: {"nodes": [function("a", inputs={"value": "\udfff"})]}, "nodes[0].inputs.value", "surrogate"),
    "10 MB": (lambda: {"nodes": [function("a", inputs={"value": "x" * 10_000_000})]}, "nodes[0]", "limit"),
    "nesting": (lambda: {"nodes": [function("a", inputs={"value": nested(5000)})]}, "", "deeper"),
    "bad condition": (lambda: {"nodes": [{"id": "a", "kind": "condition", "if": "1 +"}]}, "nodes[0].if", ""),
    "long queue": (lambda: {"nodes": [function("a", queue="x" * 51)]}, "nodes[0].queue", "50"),
    "no nodes": (lambda: {"nodes": []}, "nodes", "at least one"),
    "no object": (lambda: [], "", "object"),
    "nodes that are none": (
        lambda: {"nodes": [{"id": "a", "kind": "map", "items": "${input}", "graph": {"nodes": 5}}]},
        "nodes[0].graph.nodes", "at least one",
    ),
}  # fmt: skip


@pytest.mark.pg_slice
@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_that_cannot_run_is_refused_with_its_place(name):
    make, place, told = GRAPHS[name]
    graph = make()
    with pytest.raises(GraphInvalid) as refusal:
        submit(graph)
    assert place in [problem.path for problem in refusal.value.problems] or place == ""
    assert told in str(refusal.value)


def test_every_fault_of_a_graph_is_named_at_once():
    graph = {
        "nodes": [function("a", function="nope"), {"id": "b", "kind": "tool", "tool": "nope"}],
        "edges": [edge("a", "c")],
    }
    with pytest.raises(GraphInvalid) as refusal:
        submit(graph)
    paths = {problem.path for problem in refusal.value.problems}
    assert {"nodes[0].function", "nodes[1].tool"} <= paths


def test_an_unknown_agent_is_refused_with_the_ones_there_are():
    with pytest.raises(AgentNotFound, match="echo"):
        Job.objects.submit("nobody")


@pytest.mark.parametrize("key", ["", "x" * 256, "a\0", "\ud800"])
def test_an_idempotency_key_that_cannot_be_kept_is_refused(key):
    with pytest.raises(InputInvalid) as refusal:
        Job.objects.submit("echo", idempotency_key=key)
    assert refusal.value.path == "idempotency_key"


@pytest.mark.parametrize(
    "keys",
    [
        {"tenant": "Not A Slug"},
        {"tenant": ""},
        {"tenant": "x" * 64},
        {"queue": "x" * 51},
        {"queue": "a b"},
        {"queue": "unacked"},
        {"queue": "_kombu.binding.default"},
        {"priority": 40_000},
        {"by": "x" * 201},
        {"by": "a\0"},
    ],
    ids=str,
)
def test_what_else_comes_with_a_request_is_checked_too(keys):
    with pytest.raises(InputInvalid) as refusal:
        Job.objects.submit("echo", **keys)
    assert refusal.value.path == next(iter(keys))
