"""Each node by itself: its id, its kind, its keys, and the tool or function it names."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from runtime import expressions, schemas
from runtime.graph.kinds import COMMON, SHAPES, Kind, Shape
from runtime.graph.problems import Report, shown


@dataclass(frozen=True)
class Registered:
    """What the installed agents know; None is not consulted."""

    tools: Collection[str] | None
    kinds: Mapping[str, Kind]
    functions: Collection[str] | None
    outer: frozenset[str] = frozenset()
    queues: Collection[str] | None = None
    is_inner: bool = False
    """Whether the graph is one inside a job's graph."""


def look_at_nodes(nodes: list[Any], registered: Registered, report: Report) -> dict[str, int]:
    """The place of each id."""
    numbers: dict[str, int] = {}
    for number, node in enumerate(nodes):
        path = f"nodes[{number}]"
        if not isinstance(node, dict):
            report.add(path, "not_object", "a node is an object with id and kind")
        elif _id_is_good(node.get("id"), path, numbers, report):
            numbers[node["id"]] = number
            _look_at_node(node, path, registered, report)
    return numbers


def ask_kinds(nodes: list[dict[str, Any]], kinds: Mapping[str, Kind], report: Report) -> None:
    """What the kinds themselves say, of nodes that are otherwise good."""
    for number, node in enumerate(nodes):
        if (kind := kinds.get(node["kind"])) is not None:
            for problem in kind.validate(node):
                inner = problem.below(f"nodes[{number}]")
                report.add(inner.path, inner.code, inner.message, inner.hint)


def _id_is_good(key: Any, path: str, numbers: Mapping[str, int], report: Report) -> bool:
    if not isinstance(key, str) or not expressions.is_identifier(key):
        hint = "letters, digits and _, not beginning with a digit, at most 100"
        report.add(f"{path}.id", "bad_id", f"{shown(key)} is not an id", hint)
    elif key in expressions.RESERVED or key == "input":
        report.add(f"{path}.id", "reserved_id", f"{key!r} is a reserved word", f"such as {key}_step")
    elif key in numbers:
        report.add(f"{path}.id", "duplicate_id", f"{key!r} is the id of nodes[{numbers[key]}]")
    else:
        return True
    return False


def _look_at_node(node: dict[str, Any], path: str, registered: Registered, report: Report) -> None:
    kind = node.get("kind")
    if not isinstance(kind, str) or not kind:
        return report.add(f"{path}.kind", "missing_key", "a node needs a kind")
    if kind in SHAPES:
        _look_at_shape(node, SHAPES[kind], path, report)
    elif kind in registered.kinds:
        _look_at_keys(node, COMMON, path, report)
    else:
        known = ", ".join(sorted({*SHAPES, *registered.kinds}))
        report.add(f"{path}.kind", "unknown_kind", f"unknown kind {shown(kind)}", f"known: {known}")
    if kind == "tool":
        _look_up(node, "tool", registered.tools, path, report)
    elif kind == "function":
        _look_up(node, "function", registered.functions, path, report)
    _look_up(node, "queue", registered.queues, path, report)


def _look_at_shape(node: dict[str, Any], shape: Shape, path: str, report: Report) -> None:
    kind = node["kind"]
    _look_at_keys(node, shape.keys, path, report)
    for key in node.keys() - shape.keys.keys() - {"id", "kind"}:
        known = ", ".join(sorted(shape.keys))
        report.add(f"{path}.{key}", "unknown_key", f"a {kind} has no key {key!r}", f"known: {known}")
    for key in shape.required.keys() - node.keys():
        report.add(f"{path}.{key}", "missing_key", f"a {kind} needs {key!r}")
    if shape.rule and (wrong := shape.rule.check(node)):
        report.add(path, "bad_keys", f"this {kind} {wrong}")
    if "schema" in shape.keys and isinstance(node.get("schema"), dict):
        for fault in schemas.faults(node["schema"]):
            report.add(f"{path}.schema.{fault.path}", "bad_schema", fault.reason)


def _look_at_keys(node: dict[str, Any], keys: Mapping[str, Any], path: str, report: Report) -> None:
    for key, value in node.items():
        if key in keys and (wrong := keys[key].check(value)):
            report.add(f"{path}.{key}", "bad_value", wrong)


def _look_up(
    node: dict[str, Any], key: str, known: Collection[str] | None, path: str, report: Report
) -> None:
    name = node.get(key)
    if known is None or not isinstance(name, str) or name in known:
        return
    hint = f"known: {', '.join(sorted(known)[:20])}" if known else f"no {key} is registered"
    report.add(f"{path}.{key}", f"unknown_{key}", f"unknown {key} {shown(name)}", hint)
