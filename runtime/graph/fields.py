"""One table for the keys of a node: what each may hold, and the same as a JSON Schema fragment."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runtime.graph.durations import PATTERN, seconds


@dataclass(frozen=True)
class Field:
    """`check` answers what is wrong with a value, or None; `schema` says the same to other programs."""

    schema: dict[str, Any]
    check: Callable[[Any], str | None]


def _typed(expected: type, article: str, schema: dict[str, Any]) -> Field:
    return Field(schema, lambda value: None if isinstance(value, expected) else f"must be {article}")


def choice(*allowed: str) -> Field:
    """One of these words."""
    return Field(
        {"enum": list(allowed)},
        lambda value: None if value in allowed else f"must be one of {', '.join(allowed)}",
    )


def _integer(value: Any, least: int, most: int) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return None
    return f"must be a whole number from {least} to {most}"


def _bounded(least: int, most: int) -> Field:
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Field(schema, lambda value: _integer(value, least, most))


def _number(value: Any, least: float = -math.inf) -> str | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= least:
        return None
    return "must be a number" if least == -math.inf else f"must be a number, {least:g} or more"


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "must be a text that is not empty"


def _duration(value: Any) -> str | None:
    try:
        seconds(value)
    except ValueError as error:
        return str(error)
    return None


def _join(value: Any) -> str | None:
    if value in ("all", "any"):
        return None
    if isinstance(value, dict) and value.keys() == {"n_of"}:
        wrong = _integer(value["n_of"], 1, 1_000_000)
        return f"n_of {wrong}" if wrong else None
    return 'must be "all", "any" or {"n_of": k}'


def _object_of(keys: dict[str, Field], required: tuple[str, ...] = ()) -> Field:
    def check(value: Any) -> str | None:
        if not isinstance(value, dict):
            return "must be an object"
        for key in required:
            if key not in value:
                return f"lacks {key!r}"
        for key, item in value.items():
            if key not in keys:
                return f"has the unknown key {key!r}; known are {', '.join(keys)}"
            if wrong := keys[key].check(item):
                return f"{key} {wrong}"
        return None

    schema: dict[str, Any] = {
        "type": "object",
        "properties": {key: field.schema for key, field in keys.items()},
        "additionalProperties": False,
    }
    if required:
        schema["required"] = list(required)
    return Field(schema, check)


def _list_of(item: Field, least: int = 0) -> Field:
    def check(value: Any) -> str | None:
        if not isinstance(value, list):
            return "must be a list"
        if len(value) < least:
            return "must not be empty"
        for number, entry in enumerate(value):
            if wrong := item.check(entry):
                return f"[{number}] {wrong}"
        return None

    return Field({"type": "array", "items": item.schema, "minItems": least}, check)


def _queue(value: Any) -> str | None:
    if isinstance(value, str) and re.fullmatch(QUEUE_PATTERN, value):
        return None
    return (
        "must be a queue name of up to 50 letters, digits, '.', '_' or '-', "
        "beginning with a letter or digit and not with unacked"
    )


def _on_timeout(value: Any) -> str | None:
    if value in ("fail", "cancel", "continue"):
        return None
    if isinstance(value, dict) and value.keys() == {"value"}:
        return None
    return 'must be "fail", "cancel", "continue" or {"value": …}'


QUEUE_PATTERN = "^(?!unacked)[A-Za-z0-9][A-Za-z0-9_.-]{0,49}$"
"""A queue is a key of the broker, which has others of its own that begin with `unacked` and `_kombu`."""

CAPABILITY_PATTERN = "^[a-z0-9][a-z0-9_.-]{0,49}$"


def bad_capability(value: Any) -> str:
    return (
        f"{str(value)[:60]!r} is no capability: up to 50 of a-z, 0-9, '.', '_' and '-', "
        "beginning with a letter or digit"
    )


def _requires(value: Any) -> str | None:
    if not isinstance(value, list) or len(value) > 8:
        return 'must be a list of up to 8 capabilities, such as ["gpu"]'
    wrong = [one for one in value if not (isinstance(one, str) and re.fullmatch(CAPABILITY_PATTERN, one))]
    return bad_capability(wrong[0]) if wrong else None


DECISION = choice("allow", "require_approval", "deny")
ANY = Field({}, lambda value: None)
TEXT = Field({"type": "string", "minLength": 1}, _text)
OBJECT = _typed(dict, "an object", {"type": "object"})
JSON_SCHEMA = OBJECT
BOOLEAN = _typed(bool, "true or false", {"type": "boolean"})
NUMBER = Field({"type": "number"}, _number)
POSITIVE = _bounded(1, 10_000_000)
QUEUE = Field({"type": "string", "pattern": QUEUE_PATTERN}, _queue)
PRIORITY = _bounded(-1000, 1000)
REQUIRES = Field(
    {"type": "array", "items": {"type": "string", "pattern": CAPABILITY_PATTERN}, "maxItems": 8}, _requires
)
DURATION = Field(
    {
        "anyOf": [
            {"type": "number", "exclusiveMinimum": 0, "maximum": 315360000},
            {"type": "string", "maxLength": 64, "pattern": PATTERN},
        ]
    },
    _duration,
)
JOIN = Field(
    {
        "anyOf": [
            {"enum": ["all", "any"]},
            _object_of({"n_of": _bounded(1, 1_000_000)}, required=("n_of",)).schema,
        ]
    },
    _join,
)
_RETRY: dict[str, Field] = {
    "max_attempts": _bounded(1, 1000),
    "backoff": DURATION,
    "factor": Field({"type": "number", "minimum": 1}, lambda value: _number(value, 1)),
    "max_backoff": DURATION,
    "jitter": _typed(bool, "true or false", {"type": "boolean"}),
    "retryable": _list_of(TEXT),
    "permanent": _list_of(TEXT),
    "on_timeout": choice("retry", "fail"),
}
RETRY = _object_of(_RETRY)
POLICY = _object_of({**_RETRY, "timeout": DURATION})
"""What an agent may say of all its steps."""
COMPENSATE = choice("on_failure", "on_cancel", "always")
_UNDOING = _object_of({"tool": TEXT, "inputs": OBJECT}, required=("tool",))
UNDOING = Field(
    {"anyOf": [{"const": False}, _UNDOING.schema]},
    lambda value: (
        None
        if value is False
        else _UNDOING.check(value)
        if isinstance(value, dict)
        else 'must be false, or {"tool": …, "inputs": {…}}'
    ),
)
MESSAGES = _list_of(_object_of({"role": TEXT, "content": ANY}, required=("role", "content")), least=1)
APPROVERS = _object_of(
    {"users": _list_of(TEXT), "groups": _list_of(TEXT), "permission": TEXT},
)
GRANT = Field(
    {},
    lambda value: (
        DECISION.check(value)
        if isinstance(value, str)
        else _object_of(
            {"decision": DECISION, "approvers": APPROVERS, "timeout": DURATION}, required=("decision",)
        ).check(value)
    ),
)
"""What is said of a tool or a model: in settings and in Python only."""
NAMES = _list_of(TEXT)
TEMPLATE = Field(
    {"type": ["array", "string"]},
    lambda value: (
        None if isinstance(value, (list, str)) else "must be a list, or a text with ${…} that gives one"
    ),
)
COMPLETION = _object_of(
    {
        "min_successful": _bounded(1, 1_000_000),
        "tolerated_failures": _bounded(0, 1_000_000),
        "tolerated_percentage": Field(
            {"type": "number", "minimum": 0, "maximum": 100},
            lambda value: _number(value, 0) or (None if value <= 100 else "must be 100 or less"),
        ),
    }
)
ON_TIMEOUT = Field(
    {
        "anyOf": [
            {"enum": ["fail", "cancel", "continue"]},
            _object_of({"value": ANY}, required=("value",)).schema,
        ]
    },
    _on_timeout,
)
