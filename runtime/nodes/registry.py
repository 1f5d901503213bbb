"""The node kinds by name."""

import re
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from runtime.exceptions import KindNotFound, KindRefused
from runtime.nodes.base import Node

GROUP = "aetheris.nodes"
"""Installed packages name their kinds under this group of entry points: a class, or an object of one."""

_kinds: dict[str, Node] = {}


def register(node: Any) -> Node:
    """Make a kind known. Called for custom kinds from `nodes.py` of an installed app.

    Raises `KindRefused` for what is no kind, and for a name that another class has taken.
    """
    kind = getattr(node, "kind", None)
    if (
        not isinstance(node, Node)
        or not isinstance(kind, str)
        or not re.fullmatch("[a-z][a-z0-9_]{0,49}", kind)
    ):
        raise KindRefused(
            f"{node!r} is no node kind: it must be an object of a subclass of runtime.nodes.Node, with a `kind` of "
            "small letters, digits and _, at most 50."
        )
    taken = _kinds.get(kind)
    if taken is not None and _place(taken) != _place(node):
        raise KindRefused(
            f"Node kind {kind!r} of {_place(node)} bears the name of {_place(taken)}: choose another."
        )
    _kinds[kind] = node
    return node


def discover() -> None:
    """Register the kinds that installed packages bring along. Raises `KindRefused` where one cannot be had."""
    for point in entry_points(group=GROUP):
        try:
            found = point.load()
            register(found() if isinstance(found, type) else found)
        except Exception as error:  # importing other people's code may raise anything
            raise _refusal(point, error) from error


def get(kind: str) -> Node:
    try:
        return _kinds[kind]
    except KeyError:
        raise KindNotFound(kind) from None


def registered() -> dict[str, Node]:
    """The kinds that a graph may name."""
    return {kind: node for kind, node in _kinds.items() if not node.is_internal}


def _refusal(point: EntryPoint, error: Exception) -> KindRefused:
    package = point.dist.name if point.dist else "an unnamed package"
    return KindRefused(
        f"Entry point {point.name!r} ({point.value}) of {package} in group {GROUP} gives no kind: "
        f"{type(error).__name__}: {error} Mend or uninstall {package}."
    )


def _place(node: Node) -> str:
    return f"{type(node).__module__}.{type(node).__qualname__}"
