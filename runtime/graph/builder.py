"""A graph written in Python.

    g = Graph()
    order = g.tool("order", "query_order", order_id="${input.order_id}")
    big = g.condition("big", "order.amount > 100.0")
    ok = g.approval("ok", prompt="Refund ${order.amount}?", timeout="2d")
    refund = g.tool("refund", "refund", order_id="${order.id}")
    order >> big
    big.when(True) >> ok
    ok.approved >> refund
    big.when(False) >> refund
    g.result("${refund}")

A reference brings its edge along: `big` above would follow `order` without being told.
`build()` gives the wire form; `TaskGraph.parse` is what checks it.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal

from runtime.expressions import ExpressionInvalid
from runtime.graph.kinds import node_references
from tools import Compensation

When = bool | str | None
Compensate = Literal["on_failure", "on_cancel", "always"]


class Exit:
    """One way out of a node: `node.when(True)`, `node.approved`, or the node itself (on completion)."""

    def __init__(self, graph: "Graph", node_id: str, when: When = None) -> None:
        self._graph, self.id, self._when = graph, node_id, when

    def __rshift__(self, following: "Node | Iterable[Node]") -> Any:
        for node in [following] if isinstance(following, Node) else following:
            self._graph.edge(self, node, when=self._when)
        return following

    def __rrshift__(self, earlier: "Iterable[Exit]") -> "Exit":
        for exit_ in earlier:
            self._graph.edge(exit_, self, when=exit_._when)
        return self


class Node(Exit):
    """A node of a graph being built, for use in edges and in the inputs of later nodes."""

    def __str__(self) -> str:
        return f"${{{self.id}}}"

    def ref(self, path: str = "") -> str:
        """A reference to this node's result, or to a place in it: `order.ref("items[0].id")`."""
        separator = "" if not path or path.startswith("[") else "."
        return f"${{{self.id}{separator}{path}}}"

    def when(self, outcome: bool | str) -> Exit:
        """The edge that is taken only if this node ends so."""
        return Exit(self._graph, self.id, outcome)

    @property
    def approved(self) -> Exit:
        return self.when("approved")

    @property
    def rejected(self) -> Exit:
        return self.when("rejected")

    @property
    def timed_out(self) -> Exit:
        return self.when("timed_out")

    @property
    def failed(self) -> Exit:
        return self.when("failed")


class Graph:
    """Builds the wire form of a TaskGraph. Every node method takes the common keys as keywords:
    `join`, `timeout`, `retry`, `queue`, `priority`, `requires` and, where an input bears such a name, `inputs`."""

    def __init__(self, *, compensate: Compensate | None = None) -> None:
        """`compensate` says on which ends of the job its calls are undone: without it, never."""
        self._compensate = compensate
        self._nodes: list[dict[str, Any]] = []
        self._edges: list[dict[str, Any]] = []
        self._result: Any = None

    def tool(self, id: str, tool: str, /, **keys: Any) -> Node:
        """A call of a registered tool. Keywords that are not common keys are its inputs.

        `compensate` replaces what the tool says of undoing it: a `tools.Compensation`, or False for nothing.
        """
        undoing = {"compensate": keys.pop("compensate")} if "compensate" in keys else {}
        return self._with_inputs(id, "tool", {"tool": tool, **undoing}, keys)

    def function(self, id: str, function: str | Callable[..., Any], /, **keys: Any) -> Node:
        """A registered Python function, by name or itself. Other keywords are its inputs."""
        name = function if isinstance(function, str) else _registered_name(function)
        return self._with_inputs(id, "function", {"function": name}, keys)

    def llm(self, id: str, /, prompt: str | None = None, **keys: Any) -> Node:
        """A model call: a prompt or `messages`, and `model`, `system`, `schema`, `temperature`, …"""
        return self.node(id, "llm", prompt=prompt, **keys)

    def condition(self, id: str, expression: str, /, **keys: Any) -> Node:
        """A CEL expression that is true or false; leave it by `.when(True)` and `.when(False)`."""
        return self.node(id, "condition", **{"if": expression}, **keys)

    def approval(self, id: str, /, prompt: str, **keys: Any) -> Node:
        """Ask a person; leave it by `.approved`, `.rejected`, `.timed_out`."""
        return self.node(id, "approval", prompt=prompt, **keys)

    def wait(self, id: str, /, signal: str, **keys: Any) -> Node:
        """Wait for a signal by name, with a `timeout` and what happens `on_timeout`."""
        return self.node(id, "wait", signal=signal, **keys)

    def timer(self, id: str, duration: Any = None, /, **keys: Any) -> Node:
        """Wait for a time, or `until` a moment (RFC 3339). Survives restarts and fires once."""
        return self.node(id, "timer", **{"for": duration}, **keys)

    def map(self, id: str, items: Any, graph: "Graph | Mapping[str, Any]", /, **keys: Any) -> Node:
        """Run a graph for each item; in it, `${item}` and `${index}` are the item and its place."""
        body = graph.build() if isinstance(graph, Graph) else graph
        return self.node(id, "map", items=items, graph=body, **keys)

    def plan(self, id: str, function: str | Callable[..., Any] | None = None, /, **keys: Any) -> Node:
        """Let code or, with a `prompt`, a model make a graph; it is recorded once and run in this place."""
        name = function if isinstance(function, str) or function is None else _registered_name(function)
        return (
            self._with_inputs(id, "plan", {"function": name}, keys) if name else self.node(id, "plan", **keys)
        )

    def subjob(self, id: str, agent: str, /, **keys: Any) -> Node:
        """Run another agent as a job of its own, with `input`; its result is the node's."""
        return self.node(id, "subjob", agent=agent, **keys)

    def node(self, id: str, kind: str, /, **keys: Any) -> Node:
        """A node of any kind, such as one of your own."""
        stated = {name: _wire(value) for name, value in keys.items() if value is not None}
        self._nodes.append({"id": id, "kind": kind, **stated})
        return Node(self, id)

    def handle(self, id: str) -> Node:
        """The node of this id, to draw edges with."""
        return Node(self, id)

    def edge(self, parent: Exit | str, child: Exit | str, when: When = None) -> None:
        """An edge; `when` says on which outcome of the parent it is taken."""
        edge: dict[str, Any] = {"from": _id(parent), "to": _id(child)}
        if when is None and isinstance(parent, Exit):
            when = parent._when
        if when is not None:
            edge["when"] = when
        self._edges.append(edge)

    def result(self, template: Any) -> None:
        """What the job answers, as a template over its nodes' results."""
        self._result = _wire(template)

    def build(self) -> dict[str, Any]:
        """The wire form, with an edge for each reference that no edge accounts for yet."""
        graph: dict[str, Any] = {
            "nodes": [dict(node) for node in self._nodes],
            "edges": [dict(edge) for edge in self._edges] + self._implied_edges(),
        }
        if self._result is not None:
            graph["result"] = self._result
        if self._compensate is not None:
            graph["compensate"] = self._compensate
        return graph

    def _with_inputs(self, id: str, kind: str, config: dict[str, Any], keys: dict[str, Any]) -> Node:
        common = {name: keys.pop(name) for name in COMMON & keys.keys()}
        inputs = {**common.pop("inputs", {}), **keys}
        return self.node(id, kind, **config, inputs=inputs or None, **common)

    def _implied_edges(self) -> list[dict[str, Any]]:
        parents: dict[str, list[str]] = {node["id"]: [] for node in self._nodes}
        for edge in self._edges:
            parents.setdefault(edge["to"], []).append(edge["from"])
        place = {key: number for number, key in enumerate(parents)}
        implied = []
        for node in self._nodes:
            known = (name for name in _references(node) if name in place)
            # The nearest first: it may lead to the others.
            for name in sorted(known, key=place.__getitem__, reverse=True):
                if name != node["id"] and not _is_upstream(name, node["id"], parents):
                    parents[node["id"]].append(name)
                    implied.append({"from": name, "to": node["id"]})
        return implied


COMMON = {"inputs", "join", "timeout", "retry", "queue", "priority", "requires"}


def _references(node: dict[str, Any]) -> set[str]:
    try:
        return node_references(node)
    except ExpressionInvalid:
        return set()  # parse names the place


def _is_upstream(name: str, node_id: str, parents: Mapping[str, list[str]]) -> bool:
    if name in parents[node_id]:
        return True
    seen, open_ = {node_id}, [node_id]
    while open_:
        for parent in parents.get(open_.pop(), ()):
            if parent == name:
                return True
            if parent not in seen:
                seen.add(parent)
                open_.append(parent)
    return False


def _id(end: Exit | str) -> str:
    return end.id if isinstance(end, Exit) else end


def _registered_name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "name", None) or getattr(function, "__name__", function))


def _wire(value: Any) -> Any:
    match value:
        case Node():
            return str(value)
        case Compensation():
            return _wire(value.as_json())
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {key: _wire(item) for key, item in value.items()}
        case list() | tuple():
            return [_wire(item) for item in value]
        case _:
            return value
