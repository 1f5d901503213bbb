"""Whether a graph can run: counts first, then nodes, edges, order, and what refers to what.

Every stage is linear in the size of the graph and runs only on what the stage before it let pass.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from runtime import expressions, strict_json
from runtime.expressions import ExpressionInvalid
from runtime.graph.kinds import COMMON, SHAPES, Kind, outcome, templates
from runtime.graph.problems import GraphInvalid, Problem

MOST_PROBLEMS = 50
EDGES_PER_NODE = 20
SHOWN = 8
DEEPEST = 64
LARGEST = 32_000_000

Reader = Callable[[str], Set[str]]


@dataclass(frozen=True)
class Registered:
    """What the installed agents know; None is not consulted."""

    tools: Collection[str] | None
    kinds: dict[str, Kind]
    functions: Collection[str] | None


class Check:
    """One run of all checks over one graph; leaves `order` and `references` behind."""

    def __init__(self, data: Any, registered: Registered, limit: int, node_bytes: int) -> None:
        self.data, self.registered, self.limit, self.node_bytes = data, registered, limit, node_bytes
        self.problems: list[Problem] = []
        self.order: list[str] = []
        self.references: dict[str, set[str]] = {}
        self.parents: dict[str, list[str]] = {}

    def run(self) -> None:
        for stage in (
            self.count,
            self.look_at_values,
            self.look_at_nodes,
            self.look_at_edges,
            self.look_at_joins,
            self.find_order,
            self.look_at_references,
        ):
            stage()
            if self.problems:
                raise GraphInvalid(self.problems)

    def report(self, path: str, code: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(path, code, message, hint))
        if len(self.problems) >= MOST_PROBLEMS:
            raise GraphInvalid(self.problems)

    # Stages, in the order in which they run

    def count(self) -> None:
        if not isinstance(self.data, dict):
            return self.report("", "not_object", "a TaskGraph is an object with nodes and edges")
        for key in self.data.keys() - {"nodes", "edges", "result"}:
            self.report(str(key), "unknown_key", f"unknown key {key!r}", "known are nodes, edges, result")
        nodes, edges = self.data.get("nodes"), self.data.get("edges", [])
        if not isinstance(nodes, list) or not nodes:
            self.report("nodes", "no_nodes", "must be a list with at least one node")
        elif len(nodes) > self.limit:
            self.report("nodes", "too_many_nodes", f"{len(nodes)} nodes; the limit is {self.limit}")
        if not isinstance(edges, list):
            self.report("edges", "not_list", "must be a list")
        elif len(edges) > self.limit * EDGES_PER_NODE:
            most = self.limit * EDGES_PER_NODE
            self.report("edges", "too_many_edges", f"{len(edges)} edges; the limit is {most}")

    def look_at_values(self) -> None:
        try:
            size = strict_json.check(self.data, max_bytes=LARGEST, max_depth=DEEPEST)
            if size > self.node_bytes:
                for number, node in enumerate(self.data["nodes"]):
                    strict_json.check(node, f"nodes[{number}]", max_bytes=self.node_bytes, max_depth=DEEPEST)
        except strict_json.InvalidValue as error:
            self.report(error.path, "not_json", error.reason)

    def look_at_nodes(self) -> None:
        first: dict[str, int] = {}
        for number, node in enumerate(self.data["nodes"]):
            path = f"nodes[{number}]"
            if not isinstance(node, dict):
                self.report(path, "not_object", "a node is an object with id and kind")
            elif self._id_is_good(node, path, first):
                first[node["id"]] = number
                self._look_at_node(node, path)
        self.numbers = first

    def look_at_edges(self) -> None:
        self.parents = {key: [] for key in self.numbers}
        self.children: dict[str, list[str]] = {key: [] for key in self.numbers}
        seen: dict[tuple[str, str, str | None], int] = {}
        for number, edge in enumerate(self.data.get("edges", ())):
            path = f"edges[{number}]"
            if self._edge_is_good(edge, path):
                same = (edge["from"], edge["to"], outcome(self._kind(edge["from"]), edge.get("when")))
                if same in seen:
                    self.report(path, "duplicate_edge", f"the same as edges[{seen[same]}]")
                seen[same] = number
                self.parents[edge["to"]].append(edge["from"])
                self.children[edge["from"]].append(edge["to"])

    def look_at_joins(self) -> None:
        for number, node in enumerate(self.data["nodes"]):
            join, parents = node.get("join"), len(self.parents[node["id"]])
            if isinstance(join, dict) and join["n_of"] > parents:
                message = f"waits for {join['n_of']} of {parents} incoming edges"
                self.report(f"nodes[{number}].join.n_of", "join_too_large", message)

    def find_order(self) -> None:
        open_parents = {key: len(parents) for key, parents in self.parents.items()}
        ready = deque(key for key, count in open_parents.items() if count == 0)
        while ready:
            key = ready.popleft()
            self.order.append(key)
            for child in self.children[key]:
                open_parents[child] -= 1
                if open_parents[child] == 0:
                    ready.append(child)
        if len(self.order) < len(self.parents):
            cycle = self._cycle({key for key, count in open_parents.items() if count})
            path = f"nodes[{self.numbers[cycle[0]]}]"
            self.report(path, "cycle", f"the edges form a cycle: {_arrows(cycle)}", "remove one of them")

    def look_at_references(self) -> None:
        far: list[tuple[str, str, str]] = []
        for number, node in enumerate(self.data["nodes"]):
            key, parents = node["id"], set(self.parents[node["id"]])
            self.references[key] = set()
            for path, read, text in _expressions(node, self._literals(node)):
                place = f"nodes[{number}].{path}"
                names = self._names(read, text, place)
                self.references[key] |= names
                far += [(key, name, place) for name in names - parents if name != "input"]
        for path, text in expressions.texts(self.data.get("result"), "result"):
            self._names(expressions.references, text, path)
        self._look_upstream(far)

    # What the stages ask

    def _id_is_good(self, node: dict[str, Any], path: str, first: Mapping[str, int]) -> bool:
        key = node.get("id")
        if not isinstance(key, str) or not expressions.is_identifier(key):
            hint = "letters, digits and _, not beginning with a digit, at most 100"
            self.report(f"{path}.id", "bad_id", f"{_shown(key)} is not an id", hint)
        elif key in expressions.RESERVED or key == "input":
            self.report(f"{path}.id", "reserved_id", f"{key!r} is a reserved word", f"such as {key}_step")
        elif key in first:
            self.report(f"{path}.id", "duplicate_id", f"{key!r} is the id of nodes[{first[key]}]")
        else:
            return True
        return False

    def _look_at_node(self, node: dict[str, Any], path: str) -> None:
        name = node.get("kind")
        if not isinstance(name, str) or not name:
            return self.report(f"{path}.kind", "missing_key", "a node needs a kind")
        kind, shape = self.registered.kinds.get(name), SHAPES.get(name)
        if shape is None and kind is None:
            known = ", ".join(sorted({*SHAPES, *self.registered.kinds}))
            return self.report(
                f"{path}.kind", "unknown_kind", f"unknown kind {_shown(name)}", f"known: {known}"
            )
        before = len(self.problems)
        keys = {**COMMON, **(shape.keys if shape else {})}
        for key, value in node.items():
            if key in keys:
                if wrong := keys[key].check(value):
                    self.report(f"{path}.{key}", "bad_value", wrong)
            elif shape and key not in ("id", "kind"):
                known = ", ".join(sorted(keys))
                self.report(f"{path}.{key}", "unknown_key", f"a {name} has no key {key!r}", f"known: {known}")
        for key in shape.required if shape else ():
            if key not in node:
                self.report(f"{path}.{key}", "missing_key", f"a {name} needs {key!r}")
        if shape and shape.rule and (wrong := shape.rule.check(node)):
            self.report(path, "bad_keys", f"this {name} {wrong}")
        self._look_up(node, path, "tool", self.registered.tools)
        self._look_up(node, path, "function", self.registered.functions)
        if kind is not None and len(self.problems) == before:
            for problem in kind.validate(node):
                self.problems.append(problem.below(path))

    def _look_up(self, node: dict[str, Any], path: str, kind: str, known: Collection[str] | None) -> None:
        name = node.get(kind)
        if known is None or node["kind"] != kind or not isinstance(name, str) or name in known:
            return
        hint = f"known: {', '.join(sorted(known)[:20])}" if known else f"no {kind} is registered"
        self.report(f"{path}.{kind}", f"unknown_{kind}", f"unknown {kind} {_shown(name)}", hint)

    def _edge_is_good(self, edge: Any, path: str) -> bool:
        before = len(self.problems)
        if not isinstance(edge, dict):
            self.report(path, "not_object", "an edge is an object with from and to")
            return False
        for key in edge.keys() - {"from", "to", "when"}:
            self.report(f"{path}.{key}", "unknown_key", f"unknown key {key!r}", "known: from, to, when")
        for end in ("from", "to"):
            key = edge.get(end)
            if not isinstance(key, str) or not expressions.is_identifier(key):
                self.report(f"{path}.{end}", "bad_id", f"must be the id of a node, not {_shown(key)}")
            elif key not in self.numbers:
                self.report(f"{path}.{end}", "unknown_node", f"there is no node {_shown(key)}")
        if len(self.problems) == before:
            self._look_at_when(edge, path)
        return len(self.problems) == before

    def _look_at_when(self, edge: dict[str, Any], path: str) -> None:
        when = edge.get("when")
        if "when" in edge and not isinstance(when, (str, bool)):
            return self.report(f"{path}.when", "bad_value", "must be true, false or a text")
        kind = self._kind(edge["from"])
        allowed = self._outcomes(kind)
        text = outcome(kind, when)
        if "when" in edge and text not in allowed:
            message = f"a {kind} is not left by {_shown(when)}"
            self.report(f"{path}.when", "bad_when", message, f"possible: {', '.join(sorted(allowed))}")

    def _kind(self, key: str) -> str:
        kind: str = self.data["nodes"][self.numbers[key]]["kind"]
        return kind

    def _outcomes(self, kind: str) -> set[str]:
        own = (
            SHAPES[kind].outcomes if kind in SHAPES else getattr(self.registered.kinds[kind], "outcomes", ())
        )
        return {"failed", *own}

    def _literals(self, node: dict[str, Any]) -> Collection[str]:
        literals: Collection[str] = getattr(self.registered.kinds.get(node["kind"]), "literals", ())
        return literals

    def _cycle(self, stuck: set[str]) -> list[str]:
        """Each node that is stuck has a stuck parent, so walking upwards comes round."""
        key, at = min(stuck, key=self.numbers.__getitem__), dict[str, int]()
        trail: list[str] = []
        while key not in at:
            at[key] = len(trail)
            trail.append(key)
            key = next(parent for parent in self.parents[key] if parent in stuck)
        return [key, *reversed(trail[at[key] :])]

    def _names(self, read: Reader, text: str, path: str) -> Set[str]:
        try:
            names = read(text)
        except ExpressionInvalid as error:
            self.report(path, "bad_expression", str(error))
            return frozenset()
        for name in sorted(name for name in names if name != "input" and name not in self.numbers):
            self.report(path, "unknown_reference", f"there is no node {name!r} to refer to")
        return names

    def _look_upstream(self, far: list[tuple[str, str, str]]) -> None:
        """Carries one bit for each node referred to from afar along the edges: linear, whatever the shape."""
        bits = {name: 1 << number for number, name in enumerate(sorted({name for _, name, _ in far}))}
        if not bits:
            return
        upstream: dict[str, int] = {}
        for key in self.order:
            seen = 0
            for parent in self.parents[key]:
                seen |= upstream[parent] | bits.get(parent, 0)
            upstream[key] = seen
        for key, name, path in far:
            if not upstream[key] & bits[name]:
                hint = f"add an edge that leads from {name} to {key}"
                self.report(path, "not_upstream", f"{name!r} does not come before {key!r}", hint)


def _expressions(node: dict[str, Any], literals: Collection[str]) -> Iterator[tuple[str, Reader, str]]:
    parts = templates(node, literals)
    if node["kind"] == "condition":
        yield "if", expressions.names, parts.pop("if")
    for path, text in expressions.texts(parts):
        yield path, expressions.references, text


def _arrows(cycle: list[str]) -> str:
    shown = cycle if len(cycle) <= SHOWN else [*cycle[: SHOWN - 2], "…", cycle[-1]]
    return " → ".join(shown)


def _shown(value: Any) -> str:
    text = (
        repr(value) if isinstance(value, (str, int, float, bool, type(None))) else f"a {type(value).__name__}"
    )
    return text if len(text) <= 80 else text[:77] + "…"
