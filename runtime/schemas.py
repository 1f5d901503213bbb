"""JSON Schemas of graphs. Models and strangers may have written them, and the values too.

So only a part of JSON Schema (2020-12) may be used: nothing is fetched, no pattern is run, references lead to the
schema's own `$defs`, and how many of them are followed is bounded. `faults` looks at each schema before it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators
from referencing import Registry

from runtime import chain

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TYPES = frozenset(("array", "boolean", "integer", "null", "number", "object", "string"))
REFUSED = {
    "pattern": "patterns are not used here, since some never come to an end; use enum, or check in a step",
    "patternProperties": "patterns are not used here, since some never come to an end; name the properties",
    "$id": "a schema here has no address of its own",
    "$anchor": "a schema here is referred to as #/$defs/name",
    "$dynamicAnchor": "a schema here is referred to as #/$defs/name",
    "$dynamicRef": "a reference here is $ref with #/$defs/name",
    "unevaluatedItems": "use items",
    "unevaluatedProperties": "use additionalProperties",
}
ONE = ("additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then")
LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
MAPS = ("$defs", "definitions", "dependentSchemas", "properties")
MOST_REFERENCES = 10_000
"""Followed for one value: a schema that refers to another twice at each level doubles the work each time."""
ERRORS_READ = 100
LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Fault:
    """What may not stand in a schema, and where."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Misfit:
    """What of a value does not fit, and why."""

    field: str
    reason: str


class TooMuchWork(Exception):
    """More references than may be followed for one value."""


def faults(schema: Any) -> Iterator[Fault]:
    """Every fault of a schema, with its place."""
    references = _references(schema)
    open_: list[tuple[str, Any]] = [("", schema)]
    while open_:
        path, one = open_.pop()
        if isinstance(one, bool):
            continue
        if not isinstance(one, Mapping):
            yield Fault(path, "a schema is an object, or true or false")
            continue
        for keyword, value in one.items():
            place = f"{path}.{keyword}" if path else keyword
            if reason := _wrong(keyword, value, references, whole=not path):
                yield Fault(place, reason)
            else:
                open_ += _inside(keyword, value, place)


def misfit(value: Any, schema: Mapping[str, Any]) -> Misfit | None:
    """Where a value does not fit a schema; nothing fits a schema that has a fault."""
    for fault in faults(schema):
        return Misfit("", f"the schema cannot be used: {fault.path}: {fault.reason}")
    whole = {keyword: item for keyword, item in schema.items() if keyword != "$schema"}
    _followed.set(0)
    try:
        errors = list(islice(_Validator(whole, registry=Registry()).iter_errors(value), ERRORS_READ))
    except (RecursionError, TooMuchWork):
        return Misfit("", "the schema cannot be used: its references lead round, or to too much work")
    return min(map(_misfit, errors), key=lambda one: (one.field, one.reason), default=None)


# What a schema may hold


def _references(schema: Any) -> frozenset[str]:
    """The references that lead somewhere."""
    found: set[str] = set()
    for keyword in ("$defs", "definitions") if isinstance(schema, Mapping) else ():
        if isinstance(schema.get(keyword), Mapping):
            found |= {f"#/{keyword}/{_pointer(str(name))}" for name in schema[keyword]}
    return frozenset(found)


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _wrong(keyword: str, value: Any, references: frozenset[str], *, whole: bool) -> str | None:
    if keyword in REFUSED:
        return REFUSED[keyword]
    if keyword == "$ref":
        return (
            None if isinstance(value, str) and value in references else "must be #/$defs/name of this schema"
        )
    if keyword == "$schema":
        return (
            None if whole and value == DIALECT else f"only the whole schema may name its dialect, {DIALECT}"
        )
    if keyword in LISTS:
        return None if isinstance(value, list) and value else "must be a list of schemas"
    if keyword in MAPS:
        return None if isinstance(value, Mapping) else "must be an object of schemas"
    check = LEAVES.get(keyword)
    return check(value) if check else None


def _inside(keyword: str, value: Any, place: str) -> list[tuple[str, Any]]:
    if keyword in ONE:
        return [(place, value)]
    if keyword in LISTS:
        return [(f"{place}[{number}]", one) for number, one in enumerate(value)]
    if keyword in MAPS:
        return [(f"{place}.{name}", one) for name, one in value.items()]
    return []


def _type(value: Any) -> str | None:
    names = value if isinstance(value, list) else [value]
    good = bool(names) and all(isinstance(name, str) and name in TYPES for name in names)
    return None if good else f"must be one or more of {', '.join(sorted(TYPES))}"


def _count(value: Any) -> str | None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return None if whole else "must be a whole number, zero or more"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> str | None:
    return None if _is_number(value) else "must be a number"


def _step(value: Any) -> str | None:
    return None if _is_number(value) and value > 0 else "must be a number above zero"


def _texts(value: Any) -> str | None:
    good = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return None if good else "must be a list of texts"


def _lists_of_texts(value: Any) -> str | None:
    good = isinstance(value, Mapping) and not any(map(_texts, value.values()))
    return None if good else "must be an object of lists of texts"


def _list(value: Any) -> str | None:
    return None if isinstance(value, list) else "must be a list"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


COUNTS = [f"{end}{what}" for end in ("min", "max") for what in ("Contains", "Items", "Length", "Properties")]
NUMBERS = ("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum")
LEAVES: dict[str, Callable[[Any], str | None]] = {
    **dict.fromkeys(COUNTS, _count),
    **dict.fromkeys(NUMBERS, _number),
    "dependentRequired": _lists_of_texts,
    "enum": _list,
    "multipleOf": _step,
    "required": _texts,
    "type": _type,
    "uniqueItems": _flag,
}


# Applying one

_followed: ContextVar[int] = ContextVar("references_followed", default=0)


def _reference(validator: Any, reference: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    followed = _followed.get() + 1
    if followed > MOST_REFERENCES:
        raise TooMuchWork
    _followed.set(followed)
    yield from Draft202012Validator.VALIDATORS["$ref"](validator, reference, value, schema) or ()


def _unique(validator: Any, wanted: bool, value: Any, schema: Any) -> Iterator[ValidationError]:
    """As JSON, so that it costs no more than reading it: comparing each with each would."""
    if wanted and isinstance(value, list) and len(set(map(chain.canonical, value))) < len(value):
        yield ValidationError("has items that are equal")


_Validator: Any = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"$ref": _reference, "uniqueItems": _unique}
)


def _misfit(error: ValidationError) -> Misfit:
    place = [str(part) for part in error.absolute_path]
    if error.validator == "required" and isinstance(error.instance, Mapping):
        wanted = error.validator_value if isinstance(error.validator_value, list) else ()
        place += [next((str(name) for name in wanted if name not in error.instance), "")]
    return Misfit(".".join(filter(None, place)), error.message[:LONGEST_REASON])
