"""The node kinds by name."""

from runtime.exceptions import KindNotFound
from runtime.nodes.base import Node

_kinds: dict[str, Node] = {}


def register(node: Node) -> Node:
    """Make a kind known. Called for custom kinds from `nodes.py` of an installed app."""
    _kinds[node.kind] = node
    return node


def get(kind: str) -> Node:
    try:
        return _kinds[kind]
    except KeyError:
        raise KindNotFound(kind) from None


def registered() -> dict[str, Node]:
    return dict(_kinds)
