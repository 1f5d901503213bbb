"""Counts first: what is too large or is no JSON is refused before anything else looks at it."""

import json
from dataclasses import dataclass
from typing import Any

from runtime import strict_json
from runtime.graph.problems import Report

EDGES_PER_NODE = 5
DEEPEST = 64
LARGEST = 32_000_000


@dataclass(frozen=True)
class Limits:
    """How large a graph may be. A graph may have five times as many edges as it may have nodes."""

    nodes: int = 20_000
    node_bytes: int = 1_000_000
    expressions: int = 500_000  # characters of CEL, plain references not counted

    @property
    def edges(self) -> int:
        return self.nodes * EDGES_PER_NODE


def count(data: Any, limits: Limits, report: Report) -> None:
    """Only the outermost object and the lengths of its lists."""
    if not isinstance(data, dict):
        return report.add("", "not_object", "a TaskGraph is an object with nodes and edges")
    for key in data.keys() - {"nodes", "edges", "result", "compensate"}:
        report.add(
            str(key), "unknown_key", f"unknown key {key!r}", "known are nodes, edges, result, compensate"
        )
    nodes, edges = data.get("nodes"), data.get("edges", [])
    if not isinstance(nodes, list) or not nodes:
        report.add("nodes", "no_nodes", "must be a list with at least one node")
    elif len(nodes) > limits.nodes:
        report.add("nodes", "too_many_nodes", f"{len(nodes)} nodes; the limit is {limits.nodes}")
    if not isinstance(edges, list):
        report.add("edges", "not_list", "must be a list")
    elif len(edges) > limits.edges:
        report.add("edges", "too_many_edges", f"{len(edges)} edges; the limit is {limits.edges}")


def look_at_values(data: dict[str, Any], limits: Limits, report: Report) -> None:
    """Whether all of it can be stored and proved, and no node is larger than it may be."""
    try:
        size = strict_json.check(data, max_bytes=LARGEST, max_depth=DEEPEST)
    except strict_json.InvalidValue as error:
        return report.add(error.path, "not_json", error.reason)
    for number, node in enumerate(data["nodes"]) if size > limits.node_bytes else ():
        length = len(json.dumps(node, ensure_ascii=False).encode())
        if length > limits.node_bytes:
            message = f"is {length} bytes of JSON; the limit is {limits.node_bytes}"
            report.add(f"nodes[{number}]", "too_large", message)
