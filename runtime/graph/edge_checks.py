"""The edges: whether they lead from node to node, each once, each on an outcome that can be, and never round."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime import expressions
from runtime.graph.kinds import Kind, outcome, outcomes
from runtime.graph.problems import Report, shown

SHOWN = 8


@dataclass(frozen=True)
class Links:
    """The neighbours of each node, by id."""

    parents: dict[str, list[str]]
    children: dict[str, list[str]]


def look_at_edges(
    edges: list[Any], kind_of: Mapping[str, str], kinds: Mapping[str, Kind], report: Report
) -> Links:
    """The neighbours of each node."""
    links = Links({key: [] for key in kind_of}, {key: [] for key in kind_of})
    possible = {kind: outcomes(kind, kinds) for kind in set(kind_of.values())}
    seen: dict[tuple[str, str, str | None], int] = {}
    for number, edge in enumerate(edges):
        if not _ends_are_good(edge, number, kind_of, report):
            continue
        parent, child = edge["from"], edge["to"]
        if "when" in edge and not _when_is_good(edge["when"], kind_of[parent], possible, number, report):
            continue
        same = (parent, child, outcome(kind_of[parent], edge.get("when")))
        if seen.setdefault(same, number) != number:
            report.add(f"edges[{number}]", "duplicate_edge", f"the same as edges[{seen[same]}]")
        links.parents[child].append(parent)
        links.children[parent].append(child)
    return links


def look_at_joins(nodes: list[dict[str, Any]], links: Links, report: Report) -> None:
    """Whether as many edges come in as the node waits for."""
    for number, node in enumerate(nodes):
        join, parents = node.get("join"), len(links.parents[node["id"]])
        if isinstance(join, dict) and join["n_of"] > parents:
            message = f"waits for {join['n_of']} of {parents} incoming edges"
            report.add(f"nodes[{number}].join.n_of", "join_too_large", message)


def find_order(numbers: Mapping[str, int], links: Links, report: Report) -> list[str]:
    """The ids in topological order; names a cycle where there is none."""
    open_parents = {key: len(parents) for key, parents in links.parents.items()}
    ready = deque(key for key, count in open_parents.items() if count == 0)
    order = []
    while ready:
        key = ready.popleft()
        order.append(key)
        for child in links.children[key]:
            open_parents[child] -= 1
            if open_parents[child] == 0:
                ready.append(child)
    if len(order) < len(numbers):
        cycle = _cycle({key: numbers[key] for key, count in open_parents.items() if count}, links)
        path = f"nodes[{numbers[cycle[0]]}]"
        report.add(path, "cycle", f"the edges form a cycle: {_arrows(cycle)}", "remove one of them")
    return order


def _ends_are_good(edge: Any, number: int, ids: Mapping[str, str], report: Report) -> bool:
    path = f"edges[{number}]"
    if not isinstance(edge, dict):
        report.add(path, "not_object", "an edge is an object with from and to")
        return False
    for key in edge.keys() - {"from", "to", "when"}:
        report.add(f"{path}.{key}", "unknown_key", f"unknown key {key!r}", "known: from, to, when")
    good = True
    for end in ("from", "to"):
        key = edge.get(end)
        if isinstance(key, str) and key in ids:
            continue
        good = False
        if isinstance(key, str) and expressions.is_identifier(key):
            report.add(f"{path}.{end}", "unknown_node", f"there is no node {shown(key)}")
        else:
            report.add(f"{path}.{end}", "bad_id", f"must be the id of a node, not {shown(key)}")
    return good


def _when_is_good(
    when: Any, kind: str, possible: Mapping[str, frozenset[str]], number: int, report: Report
) -> bool:
    path = f"edges[{number}].when"
    if not isinstance(when, (str, bool)):
        report.add(path, "bad_value", "must be true, false or a text")
        return False
    if outcome(kind, when) not in possible[kind]:
        hint = f"possible: {', '.join(sorted(possible[kind]))}"
        report.add(path, "bad_when", f"a {kind} is not left by {shown(when)}", hint)
        return False
    return True


def _cycle(stuck: Mapping[str, int], links: Links) -> list[str]:
    """Each node that is stuck has a stuck parent, so walking upwards comes round."""
    key = min(stuck, key=stuck.__getitem__)
    trail: dict[str, int] = {}
    while key not in trail:
        trail[key] = len(trail)
        key = next(parent for parent in links.parents[key] if parent in stuck)
    return [key, *reversed(list(trail)[trail[key] :])]


def _arrows(cycle: list[str]) -> str:
    shortened = cycle if len(cycle) <= SHOWN else [*cycle[: SHOWN - 2], "…", cycle[-1]]
    return " → ".join(shortened)
