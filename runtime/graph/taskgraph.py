"""A checked graph, and the plan the database records for it."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from runtime import chain, strict_json
from runtime.graph.checks import check
from runtime.graph.durations import seconds
from runtime.graph.kinds import Kind, outcome, sub_graph
from runtime.graph.limits import DEEPEST, LARGEST, Limits
from runtime.graph.node_checks import Registered
from runtime.graph.problems import GraphInvalid, Problem

COLUMNS = frozenset({"id", "kind", "join", "queue", "priority", "requires"})


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step to record; a queue, priority or requirement that is None is the job's.

    `timeout_seconds` of a wait or an approval is the deadline of its waiting.
    """

    key: str
    kind: str
    config: dict[str, Any]
    join: str
    join_needed: int
    parents: int
    queue: str | None
    priority: int | None
    requires: list[str] | None
    timeout_seconds: float | None
    max_attempts: int | None
    refs: list[str]


@dataclass(frozen=True, slots=True)
class PlannedEdge:
    """One edge to record. `when` is None if it is taken whenever the parent completes."""

    parent_key: str
    child_key: str
    when: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in topological order, the edges between them, and what the job answers."""

    steps: list[PlannedStep]
    edges: list[PlannedEdge]
    result: Any
    digest: str


class TaskGraph:
    """A graph that passed every check. Make one with `parse`."""

    def __init__(self, data: dict[str, Any], order: list[str], references: dict[str, set[str]]) -> None:
        self._data, self._order, self._references = data, order, references

    @classmethod
    def parse(
        cls,
        data: Mapping[str, Any] | str | bytes,
        *,
        tools: Collection[str] | None = None,
        kinds: Mapping[str, Kind] | None = None,
        functions: Collection[str] | None = None,
        queues: Collection[str] | None = None,
        outer: Collection[str] | None = None,
        limit: int = Limits.nodes,
        node_bytes: int = Limits.node_bytes,
    ) -> "TaskGraph":
        """The graph, or GraphInvalid with every fault and its place.

        A registry that is left out is not consulted; `kinds` adds to the built-in kinds. `limit` counts
        nodes, `node_bytes` bounds each. `outer` is given for a graph inside a job's graph: the names around it
        that expressions may use beside `input` and ids.
        """
        value = _json(data)
        inner, names = outer is not None, frozenset(outer or ())
        registered = Registered(tools, kinds or {}, functions, names, queues, inner)
        checked = check(value, registered, Limits(limit, node_bytes))
        return cls(value, checked.order, checked.references)

    @classmethod
    def recorded(cls, data: dict[str, Any]) -> "TaskGraph":
        """A graph as it was recorded: it was checked then, and its steps are planned in the order of its nodes."""
        keys = [node["id"] for node in data["nodes"]]
        return cls(data, keys, dict.fromkeys(keys, set()))

    @property
    def result(self) -> Any:
        """The template of the job's result, or None."""
        return self._data.get("result")

    @property
    def compensate(self) -> str:
        """On which ends of the job its calls are undone: on_failure, on_cancel, always, or empty for none."""
        return str(self._data.get("compensate", ""))

    @property
    def keys(self) -> list[str]:
        """Node ids in topological order."""
        return list(self._order)

    @cached_property
    def functions(self) -> list[str]:
        """The step functions that its nodes name, those of the graphs inside of nodes too."""
        return sorted(set(_functions(self._data)))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the wire form: the same whatever the order of keys."""
        return hashlib.sha256(chain.canonical(self._data)).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The wire form, as it was given."""
        return self._data

    def plan(self) -> Plan:
        """What to record: steps in topological order and their edges."""
        nodes = {node["id"]: node for node in self._data["nodes"]}
        kinds = {key: node["kind"] for key, node in nodes.items()}
        edges = [
            PlannedEdge(edge["from"], edge["to"], outcome(kinds[edge["from"]], edge.get("when")))
            for edge in self._data.get("edges", ())
        ]
        parents = dict.fromkeys(nodes, 0)
        for edge in edges:
            parents[edge.child_key] += 1
        steps = [_step(nodes[key], parents[key], self._references[key]) for key in self._order]
        return Plan(steps, edges, self.result, self.digest)


def _functions(graph: Mapping[str, Any]) -> Iterator[str]:
    for node in graph["nodes"]:
        if isinstance(name := node.get("function"), str):
            yield name
        if body := sub_graph(node):
            yield from _functions(body)


def _step(node: dict[str, Any], parents: int, references: set[str]) -> PlannedStep:
    join, needed = _join(node.get("join", "all"), parents)
    return PlannedStep(
        key=node["id"],
        kind=node["kind"],
        config={key: value for key, value in node.items() if key not in COLUMNS},
        join=join,
        join_needed=needed,
        parents=parents,
        queue=node.get("queue"),
        priority=node.get("priority"),
        requires=sorted({*node["requires"]}) if "requires" in node else None,
        timeout_seconds=seconds(node["timeout"]) if "timeout" in node else None,
        max_attempts=node.get("retry", {}).get("max_attempts"),
        refs=sorted(references - {"input"}),
    )


def _join(join: str | dict[str, int], parents: int) -> tuple[str, int]:
    if isinstance(join, dict):
        return "n_of", join["n_of"]
    return join, min(parents, 1) if join == "any" else parents


def _json(data: Mapping[str, Any] | str | bytes) -> Any:
    try:
        if isinstance(data, (str, bytes)):
            return strict_json.parse(data, LARGEST, DEEPEST)
        return data
    except strict_json.InvalidValue as error:
        raise GraphInvalid([Problem(error.path, "not_json", error.reason)]) from error
