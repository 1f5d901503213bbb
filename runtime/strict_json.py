"""JSON from outside, and Python values on their way in: what we can store, prove and read back, or a refusal.

Neither function recurses, so no depth of nesting costs more than the answer that it is too deep.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

MAX_BYTES = 1_000_000
MAX_DEPTH = 64
MOST_EXACT = 2**53 - 1

STRINGS = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
NOT_BRACKETS = re.compile(r"[^\[\]{}]++")
SURROGATE = re.compile("[\ud800-\udfff]")


class InvalidValue(ValueError):
    """A value that is refused: `path` is its place (`items[3].name`), `reason` what is wrong with it."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}" if path else reason)


def loads(text: bytes | str, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """The JSON value; raises InvalidValue for what `check` refuses, and for a key that stands twice."""
    value = parse(text, max_bytes, max_depth)
    _walk(value, "", max_depth, max_bytes)
    return value


def parse(text: bytes | str, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """The JSON value before `check` has looked at it, for those who count before they look."""
    source = _decoded(text, max_bytes)
    _refuse_depth(source, max_depth)
    try:
        return json.loads(source, object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise InvalidValue("", f"not JSON: {error}") from error


def check(value: Any, path: str = "", *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> int:
    """The size of a Python value as compact JSON in bytes; raises InvalidValue if it cannot be that."""
    _walk(value, path, max_depth, max_bytes)
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    if size > max_bytes:
        raise InvalidValue(path, f"is {size} bytes of JSON; the limit is {max_bytes}")
    return size


class _Twice(dict[str, Any]):
    """An object in which a key stood twice."""

    key = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    seen: set[str] = set()
    twice = _Twice(value)
    twice.key = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return twice


def _constant(name: str) -> NoReturn:
    raise InvalidValue("", f"not JSON: {name} is not a number in JSON")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= 309 else math.inf


def _decoded(text: bytes | str, max_bytes: int) -> str:
    if len(text) > max_bytes:
        raise InvalidValue("", f"is larger than the limit of {max_bytes} bytes")
    try:
        size = len(text.encode()) if isinstance(text, str) else len(text)
        source = text if isinstance(text, str) else text.decode()
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise InvalidValue("", f"not UTF-8: {error.reason} at {error.start}") from error
    if size > max_bytes:
        raise InvalidValue("", f"is {size} bytes; the limit is {max_bytes}")
    return source


def _refuse_depth(source: str, max_depth: int) -> None:
    if source.count("[") + source.count("{") <= max_depth:
        return
    depth = 0
    for bracket in NOT_BRACKETS.sub("", STRINGS.sub("", source)):
        depth += 1 if bracket in "[{" else -1
        if depth > max_depth:
            raise InvalidValue("", f"nests deeper than {max_depth} levels")


def _walk(value: Any, path: str, max_depth: int, most: int) -> None:
    """Looks at every value once. Each costs at least a byte, so `most` also stops what is shared a million times."""
    trail: list[str | int] = []
    open_: list[Iterator[tuple[str | int, Any]]] = [iter([("", value)])]
    seen = texts = 0
    while open_:
        for key, item in open_[-1]:
            seen += 1
            # A large text that stands in many places is as large as all of them.
            texts += (len(item) if isinstance(item, str) else 0) + (len(key) if isinstance(key, str) else 0)
            if seen > most or texts > 2 * most:
                raise InvalidValue(path, f"is larger than the limit of {most} bytes")
            if isinstance(item, (dict, list)):
                if len(open_) > max_depth:
                    raise InvalidValue(path, f"nests deeper than {max_depth} levels")
                if type(item) is list and _holds_only_small_numbers(item):
                    seen += len(item)
                    continue
                trail.append(key)
                open_.append(_items(item, path, trail))
                break
            if reason := _wrong(item):
                raise InvalidValue(_place(path, [*trail, key][1:]), reason)
        else:
            open_.pop()
            if trail:
                trail.pop()


def _holds_only_small_numbers(values: list[Any]) -> bool:
    """Whether there is nothing to look at in a list: there may be millions of such values."""
    return (
        set(map(type, values)) <= {int, bool}
        and -MOST_EXACT <= min(values, default=0) <= max(values, default=0) <= MOST_EXACT
    )


def _items(
    value: dict[Any, Any] | list[Any], path: str, trail: list[str | int]
) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, list):
        return iter(enumerate(value))
    if isinstance(value, _Twice):
        raise InvalidValue(_place(path, trail[1:]), f"the key {value.key!r} stands there twice")
    for key in value:
        if not isinstance(key, str):
            raise InvalidValue(_place(path, trail[1:]), f"has the key {key!r}; keys are texts")
        if reason := _wrong(key):
            raise InvalidValue(_place(path, trail[1:]), f"has a key that {reason}")
    return iter(value.items())


def _wrong(value: Any) -> str | None:
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        if "\0" in value:
            return "holds a NUL character (U+0000)"
        return "holds half of a surrogate pair" if not value.isascii() and SURROGATE.search(value) else None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"is {value}, which JSON has no number for"
    if isinstance(value, int):
        return None if abs(value) < 2**1023 else "is too large for a number"
    hint = "; use a list" if isinstance(value, (tuple, set, frozenset)) else ""
    return f"is a {type(value).__name__}, which is not JSON{hint}"


def _place(path: str, trail: list[str | int]) -> str:
    for key in trail:
        path += f"[{key}]" if isinstance(key, int) else f".{key}" if path else key
    return path
