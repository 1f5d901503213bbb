"""Data flow: `${…}` in JSON values, where `…` is CEL over the job's input and earlier results.

CEL has no side effects and no loops but over given lists. Plain references such as
`order.items[0].id` are read without it.
"""

from collections.abc import Mapping
from typing import Any

from runtime.expressions.errors import ExpressionFailed, ExpressionInvalid
from runtime.expressions.language import IDENTIFIER, RESERVED, Program, Reference, compiled, is_identifier
from runtime.expressions.templates import evaluate, inside, references, texts

__all__ = [
    "IDENTIFIER",
    "RESERVED",
    "ExpressionFailed",
    "ExpressionInvalid",
    "Program",
    "Reference",
    "compiled",
    "evaluate",
    "inside",
    "is_identifier",
    "names",
    "references",
    "texts",
    "value_of",
]


def value_of(expression: str, names: Mapping[str, Any]) -> Any:
    """The JSON value of one bare CEL expression, such as a condition."""
    return compiled(expression).value(names)


def names(expression: str) -> frozenset[str]:
    """The root names that a bare expression speaks of; raises ExpressionInvalid."""
    return compiled(expression).names
