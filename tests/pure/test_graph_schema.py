"""The published schema and `parse` say the same."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import runtime.graph
from runtime.graph import GraphInvalid, TaskGraph, json_schema
from tests.pure import graphs

VALIDATOR = Draft202012Validator(json_schema())

# What a schema cannot see: it takes more than one place to tell.
BEYOND = {
    "duplicate_id",
    "reserved_id",
    "unknown_node",
    "duplicate_edge",
    "bad_when",
    "join_too_large",
    "cycle",
}
BEYOND |= {
    "bad_expression",
    "unknown_reference",
    "not_upstream",
    "too_many_nodes",
    "not_json",
    "unknown_kind",
    "bad_schema",
}

EVERY_KIND: dict[str, Any] = {
    "nodes": [
        graphs.tool("a", inputs={"x": 1}, join="all", queue="q", priority=1, timeout=1.5)
        | {"retry": {"max_attempts": 3, "backoff": "1s", "factor": 2, "max_backoff": 60, "jitter": True}},
        {"id": "b", "kind": "function", "function": "f", "inputs": {}},
        {
            "id": "c",
            "kind": "llm",
            "prompt": "p",
            "model": "m",
            "schema": {},
            "temperature": 0,
            "max_tokens": 9,
        },
        {
            "id": "d",
            "kind": "llm",
            "messages": [{"role": "user", "content": "${a}"}],
            "parameters": {"seed": 1},
        },
        {"id": "e", "kind": "condition", "if": "true"},
        {"id": "f", "kind": "approval", "prompt": "?", "schema": {}, "timeout": "1d", "on_timeout": "reject"}
        | {"approvers": {"users": ["ada"], "groups": ["finance"], "permission": "runtime.approve"}},
        {"id": "g", "kind": "wait", "signal": "s", "timeout": 5, "on_timeout": {"value": None}},
    ],
    "edges": [{"from": "a", "to": "d", "when": "failed"}, {"from": "a", "to": "d"}],
    "result": {"x": ["${a}"]},
}


def schema_accepts(data: Any) -> bool:
    return bool(VALIDATOR.is_valid(data))


def parse_accepts(data: Any) -> bool:
    try:
        TaskGraph.parse(data)
    except GraphInvalid as refused:
        return {problem.code for problem in refused.problems} <= BEYOND
    return True


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(json_schema())


def test_the_file_is_the_schema() -> None:
    """Written anew by `python -m runtime.graph.schema > runtime/graph/taskgraph.schema.json`."""
    file = Path(runtime.graph.__file__).parent / "taskgraph.schema.json"

    assert json.loads(file.read_text()) == json_schema()


@pytest.mark.parametrize("graph", [graphs.refund(), EVERY_KIND, graphs.fan(3)])
def test_good_graphs_are_good_to_both(graph: dict[str, Any]) -> None:
    VALIDATOR.validate(graph)
    TaskGraph.parse(graph)


KEYS = [
    "id",
    "kind",
    "inputs",
    "join",
    "timeout",
    "retry",
    "queue",
    "priority",
    "tool",
    "prompt",
    "messages",
    "schema",
]
KEYS += [
    "on_timeout",
    "if",
    "model",
    "from",
    "to",
    "when",
    "n_of",
    "max_attempts",
    "users",
    "nodes",
    "edges",
    "extra",
]
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1,
    2.5,
    10**12,
    "",
    "a",
    "tool",
    "wait",
    "all",
    "30s",
    "x y",
    [],
    {},
    [1],
]
VALUES += [
    {"n_of": 1},
    {"n_of": 0},
    {"value": 1},
    {"max_attempts": 1},
    {"factor": 0},
    [{"role": "a", "content": 1}],
]


@settings(max_examples=400)
@given(st.data())
def test_both_say_the_same_of_a_graph_with_one_place_changed(draws: st.DataObject) -> None:
    graph = deepcopy(EVERY_KIND)
    holder: Any = draws.draw(st.sampled_from(_holders(graph)))
    key = draws.draw(st.sampled_from(KEYS + list(holder))) if isinstance(holder, dict) else None
    if key is None:
        holder.append(draws.draw(st.sampled_from(VALUES)))
    elif key in holder and draws.draw(st.booleans()):
        del holder[key]
    else:
        holder[key] = draws.draw(st.sampled_from(VALUES))

    assert schema_accepts(graph) == parse_accepts(graph), graph


def _holders(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, (dict, list)) else []
    return own + [holder for item in inner for holder in _holders(item)]
