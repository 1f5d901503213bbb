"""`${…}` in JSON values.

A text that is exactly one `${expression}` becomes the value itself; anything else interpolates.
`$${` stands for a literal `${`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from runtime.expressions.errors import ExpressionFailed, ExpressionInvalid
from runtime.expressions.language import STRING, compiled

CACHED = 4000
MOST_TEXT = 32_000_000

BRACES = re.compile(rf"{STRING}|[{{}}]", re.DOTALL)
OPENING = re.compile(r"\$?\$\{")


def evaluate(template: Any, names: Mapping[str, Any]) -> Any:
    """The template with its expressions replaced. What it refers to is shared, not copied."""
    return _evaluated(template, names, Room())


def _evaluated(template: Any, names: Mapping[str, Any], room: "Room") -> Any:
    match template:
        case str():
            return _fill(template, names, room)
        case dict():
            return {key: _evaluated(value, names, room) for key, value in template.items()}
        case list():
            return [_evaluated(value, names, room) for value in template]
        case _:
            return template


def references(template: Any) -> set[str]:
    """The root names that a template's expressions speak of; raises ExpressionInvalid."""
    return set().union(*(compiled(source).names for _, text in texts(template) for source in inside(text)))


def texts(template: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each text in a template that holds an expression, with its place."""
    match template:
        case str() if "${" in template:
            yield path, template
        case dict():
            for key, value in template.items():
                yield from texts(value, f"{path}.{key}" if path else str(key))
        case list():
            for number, value in enumerate(template):
                yield from texts(value, f"{path}[{number}]")


def inside(text: str) -> list[str]:
    """The expressions in one text; raises ExpressionInvalid where one is never closed."""
    return [part.text for part in _split(text) if isinstance(part, Source)]


@dataclass(frozen=True, slots=True)
class Source:
    """An expression inside a text."""

    text: str


class Room:
    """How much text one template may still make: a large value may stand in it a thousand times."""

    def __init__(self) -> None:
        self.left = MOST_TEXT

    def take(self, text: str, template: str) -> str:
        self.left -= len(text)
        if self.left < 0:
            raise ExpressionFailed(template, f"it makes a text of more than {MOST_TEXT} characters")
        return text


def _fill(text: str, names: Mapping[str, Any], room: Room) -> Any:
    if "${" not in text:
        return text
    parts = _split(text)
    if len(parts) == 1 and isinstance(parts[0], Source):
        return compiled(parts[0].text).value(names)
    return "".join(
        room.take(_as_text(compiled(part.text).value(names)) if isinstance(part, Source) else part, text)
        for part in parts
    )


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    # Sorted, because jsonb does not keep the order of keys: a later attempt must read the same text.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _split(text: str) -> tuple[str | Source, ...]:
    return _split_cached(text) if len(text) <= CACHED else _split_now(text)


def _split_now(text: str) -> tuple[str | Source, ...]:
    parts: list[str | Source] = []
    at = 0
    while opening := OPENING.search(text, at):
        if before := text[at : opening.start()]:
            parts.append(before)
        if opening[0] == "$${":
            parts.append("${")
            at = opening.end()
            continue
        at = _closing(text, opening.end())
        parts.append(Source(text[opening.end() : at - 1]))
    if at < len(text):
        parts.append(text[at:])
    return tuple(parts)


_split_cached = lru_cache(maxsize=4096)(_split_now)


def _closing(text: str, start: int) -> int:
    depth = 1
    for token in BRACES.finditer(text, start):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}":
            depth -= 1
            if depth == 0:
                return token.end()
    raise ExpressionInvalid(text[start - 2 :], "a `${` is never closed; write `$${` for a literal one", 0)
