"""What a graph knows of node kinds: their keys, the ways out of them, where expressions stand."""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from runtime import expressions
from runtime.expressions import ExpressionInvalid
from runtime.graph import fields
from runtime.graph.fields import Field
from runtime.graph.problems import Problem


class Kind(Protocol):
    """What the graph asks of a registered kind.

    A kind that is not built in may also have `outcomes`, the texts that an edge from it may name in
    `when`, and `literals`, the names of keys in which `${…}` means itself.
    """

    def validate(self, config: Mapping[str, Any]) -> Iterable[Problem]:
        """The faults of one node, with paths relative to the node."""
        ...


@dataclass(frozen=True)
class Rule:
    """What keys mean for each other: `check` answers what is wrong with a node, or None."""

    schema: Mapping[str, Any]
    check: Callable[[Mapping[str, Any]], str | None]


@dataclass(frozen=True)
class Shape:
    """A built-in kind: its keys beside the common ones, the ways out of it, and where expressions stand."""

    required: Mapping[str, Field]
    optional: Mapping[str, Field]
    outcomes: frozenset[str] = frozenset()
    default_outcome: str | None = None
    literals: frozenset[str] = frozenset()
    rule: Rule | None = None

    @cached_property
    def keys(self) -> dict[str, Field]:
        return {**COMMON, **self.required, **self.optional}


def _one_prompt(node: Mapping[str, Any]) -> str | None:
    return None if ("prompt" in node) != ("messages" in node) else "needs either a prompt or messages"


def _timeout_too(node: Mapping[str, Any]) -> str | None:
    return "has on_timeout but no timeout" if "on_timeout" in node and "timeout" not in node else None


def _for_or_until(node: Mapping[str, Any]) -> str | None:
    return None if ("for" in node) != ("until" in node) else "needs either for or until"


def _one_planner(node: Mapping[str, Any]) -> str | None:
    return None if ("function" in node) != ("prompt" in node) else "needs either a function or a prompt"


FOR_OR_UNTIL = Rule({"oneOf": [{"required": ["for"]}, {"required": ["until"]}]}, _for_or_until)
ONE_PLANNER = Rule({"oneOf": [{"required": ["function"]}, {"required": ["prompt"]}]}, _one_planner)
ONE_PROMPT = Rule({"oneOf": [{"required": ["prompt"]}, {"required": ["messages"]}]}, _one_prompt)
TIMEOUT_TOO = Rule({"dependentRequired": {"on_timeout": ["timeout"]}}, _timeout_too)

COMMON: dict[str, Field] = {
    "inputs": fields.OBJECT,
    "join": fields.JOIN,
    "timeout": fields.DURATION,
    "retry": fields.RETRY,
    "queue": fields.QUEUE,
    "priority": fields.PRIORITY,
    "requires": fields.REQUIRES,
}

SHAPES: dict[str, Shape] = {
    "tool": Shape(
        {"tool": fields.TEXT},
        {"compensate": fields.UNDOING},
        literals=frozenset({"tool", "compensate"}),
    ),
    "function": Shape({"function": fields.TEXT}, {}, literals=frozenset({"function"})),
    "llm": Shape(
        {},
        {
            "model": fields.TEXT,
            "prompt": fields.TEXT,
            "system": fields.TEXT,
            "messages": fields.MESSAGES,
            "schema": fields.JSON_SCHEMA,
            "temperature": fields.NUMBER,
            "max_tokens": fields.POSITIVE,
            "parameters": fields.OBJECT,
            "stream": fields.BOOLEAN,
        },
        literals=frozenset({"schema", "stream"}),
        rule=ONE_PROMPT,
    ),
    "condition": Shape({"if": fields.TEXT}, {}, outcomes=frozenset({"true", "false"})),
    "approval": Shape(
        {"prompt": fields.TEXT},
        {
            "schema": fields.JSON_SCHEMA,
            "approvers": fields.APPROVERS,
            "on_timeout": fields.choice("fail", "cancel", "reject", "continue"),
        },
        outcomes=frozenset({"approved", "rejected", "timed_out"}),
        default_outcome="approved",
        literals=frozenset({"schema", "on_timeout"}),
        rule=TIMEOUT_TOO,
    ),
    "wait": Shape(
        {"signal": fields.TEXT},
        {"schema": fields.JSON_SCHEMA, "on_timeout": fields.ON_TIMEOUT},
        outcomes=frozenset({"timed_out"}),
        literals=frozenset({"schema"}),
        rule=TIMEOUT_TOO,
    ),
    "timer": Shape({}, {"for": fields.DURATION, "until": fields.TEXT}, rule=FOR_OR_UNTIL),
    "map": Shape(
        {"items": fields.TEMPLATE, "graph": fields.OBJECT},
        {"as": fields.TEXT, "max_parallel": fields.POSITIVE, "completion": fields.COMPLETION},
        literals=frozenset({"graph", "as", "max_parallel", "completion"}),
    ),
    "plan": Shape(
        {},
        {
            "function": fields.TEXT,
            "prompt": fields.TEXT,
            "system": fields.TEXT,
            "model": fields.TEXT,
            "tools": fields.NAMES,
            "agents": fields.NAMES,
        },
        literals=frozenset({"function", "model", "tools", "agents"}),
        rule=ONE_PLANNER,
    ),
    "subjob": Shape(
        {"agent": fields.TEXT},
        {"input": fields.ANY, "on_parent_end": fields.choice("cancel", "abandon")},
        literals=frozenset({"agent", "on_parent_end"}),
    ),
}

ALWAYS_LITERAL = frozenset({"id", "kind", "join", "timeout", "retry", "queue", "priority", "requires"})


def templates(node: Mapping[str, Any], plain: Iterable[str] = ()) -> dict[str, Any]:
    """The parts of a node in which `${…}` is an expression."""
    shape = SHAPES.get(node["kind"])
    plain = ALWAYS_LITERAL | (shape.literals if shape else frozenset(plain))
    return {key: value for key, value in node.items() if key not in plain}


def node_references(node: Mapping[str, Any], plain: Iterable[str] = ()) -> set[str]:
    """The names that a node's inputs and expressions speak of."""
    parts = templates(node, plain)
    names: set[str] = set()
    if node["kind"] == "condition" and isinstance(parts.get("if"), str):
        names |= expressions.names(parts.pop("if"))
    names |= expressions.references(parts)
    return names | free_names(body, node) if (body := sub_graph(node)) else names


def sub_graph(node: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The graph inside a node, for kinds that hold one."""
    body = node.get("graph") if node["kind"] == "map" else None
    return body if isinstance(body, Mapping) else None


def bound_names(node: Mapping[str, Any]) -> frozenset[str]:
    """The names that a node gives to the expressions of the graph inside it."""
    return frozenset({str(node.get("as", "item")), "index"})


def free_names(body: Mapping[str, Any], node: Mapping[str, Any]) -> set[str]:
    """The names around `node` that the expressions of its graph speak of. What cannot be read has none."""
    names: set[str] = set()
    nodes = body.get("nodes")
    inner = [
        one
        for one in (nodes if isinstance(nodes, list) else ())
        if isinstance(one, Mapping) and isinstance(one.get("kind"), str)
    ]
    for one in inner:
        with suppress(ExpressionInvalid):
            names |= node_references(one)
    with suppress(ExpressionInvalid):
        names |= expressions.references(body.get("result"))
    return names - {one.get("id") for one in inner} - bound_names(node) - {"input"}


def outcome(kind: str, when: bool | str | None) -> str | None:
    """An edge's `when` as text; leaving an approval without one means that it was approved."""
    if when is None:
        return SHAPES[kind].default_outcome if kind in SHAPES else None
    return str(when).lower() if isinstance(when, bool) else when


def outcomes(kind: str, registered: Mapping[str, Kind]) -> frozenset[str]:
    """What an edge from a node of this kind may name in `when`."""
    own = SHAPES[kind].outcomes if kind in SHAPES else getattr(registered[kind], "outcomes", ())
    return frozenset({"failed", *own})


def literals(kind: str, registered: Mapping[str, Kind]) -> Collection[str]:
    """The keys of a registered kind in which `${…}` means itself."""
    own: Collection[str] = getattr(registered.get(kind), "literals", ())
    return own
