"""What refers to what: expressions can be read, and speak of the input or of nodes that come before."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runtime import expressions
from runtime.expressions import ExpressionInvalid
from runtime.graph.edge_checks import Links
from runtime.graph.kinds import Kind, free_names, literals, sub_graph, templates
from runtime.graph.limits import Limits
from runtime.graph.problems import Report


@dataclass(frozen=True, slots=True)
class FarReference:
    """A reference to a node that is not a parent."""

    key: str
    name: str
    path: str


class References:
    """Reads the expressions of a graph; `names` holds what each node refers to."""

    def __init__(
        self, numbers: Mapping[str, int], outer: frozenset[str], limits: Limits, report: Report
    ) -> None:
        self.numbers, self.report = numbers, report
        self.given = (outer | {"input"}) - numbers.keys()
        self.characters_left = limits.expressions
        self.names: dict[str, set[str]] = {}

    def look_at(
        self, data: dict[str, Any], kinds: Mapping[str, Kind], links: Links, order: list[str]
    ) -> None:
        far: list[FarReference] = []
        for number, node in enumerate(data["nodes"]):
            key, parents = node["id"], set(links.parents[node["id"]])
            self.names[key] = set()
            for path, sources in _expressions(node, literals(node["kind"], kinds)):
                place = f"nodes[{number}].{path}"
                names = self._read(sources, place)
                self.names[key] |= names
                far += [FarReference(key, name, place) for name in names - parents - self.given]
            if body := sub_graph(node):
                place = f"nodes[{number}].graph"
                names = free_names(body, node)
                self.names[key] |= names
                self._refuse_unknown(names, place)
                far += [FarReference(key, name, place) for name in names - parents - self.given]
        for path, text in expressions.texts(data.get("result"), "result"):
            self._read(text, path)
        if not self.report.problems:
            self._look_upstream(far, links, order)

    def _read(self, text: "str | _Bare", path: str) -> set[str]:
        names: set[str] = set()
        try:
            for source in (text,) if isinstance(text, _Bare) else expressions.inside(text):
                expression = expressions.compiled(str(source))
                names |= expression.names
                if isinstance(expression, expressions.Program):
                    self._spend(len(source), path)
        except ExpressionInvalid as error:
            self.report.add(path, "bad_expression", str(error))
        self._refuse_unknown(names, path)
        return names

    def _refuse_unknown(self, names: set[str], path: str) -> None:
        # Asked name by name: a difference with the ids would walk through all of them for each node.
        for name in sorted(name for name in names - self.given if name not in self.numbers):
            self.report.add(path, "unknown_reference", f"there is no node {name!r} to refer to")

    def _spend(self, characters: int, path: str) -> None:
        self.characters_left -= characters
        if self.characters_left < 0:
            self.report.add(path, "too_many_expressions", "the graph's expressions are too long together")
            self.report.settle()

    def _look_upstream(self, far: list[FarReference], links: Links, order: list[str]) -> None:
        """Carries one bit for each node referred to from afar along the edges: linear, whatever the shape."""
        bits = {name: 1 << number for number, name in enumerate(sorted({one.name for one in far}))}
        upstream: dict[str, int] = {}
        for key in order if bits else ():
            seen = 0
            for parent in links.parents[key]:
                seen |= upstream[parent] | bits.get(parent, 0)
            upstream[key] = seen
        for one in far:
            if not upstream[one.key] & bits[one.name]:
                message = f"{one.name!r} does not come before {one.key!r}"
                hint = f"add an edge that leads from {one.name} to {one.key}"
                self.report.add(one.path, "not_upstream", message, hint)


class _Bare(str):
    """An expression that stands without `${…}`."""


def _expressions(node: dict[str, Any], plain: Collection[str]) -> Iterator[tuple[str, str]]:
    parts = templates(node, plain)
    if node["kind"] == "condition":
        yield "if", _Bare(parts.pop("if"))
    yield from expressions.texts(parts)
