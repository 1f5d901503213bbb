"""A form from the JSON Schema of an approval, and the answer back from what was sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime import strict_json

KINDS = {"string": "text", "number": "number", "integer": "integer", "boolean": "boolean"}
LONG_TEXT = 200


@dataclass
class Field:
    """One field of the form. `kind` is text, long, number, integer, boolean, choice or json."""

    html_name: str
    name: str
    kind: str
    label: str
    help: str = ""
    required: bool = False
    choices: list[tuple[str, str]] = field(default_factory=list)
    value: str = ""
    error: str = ""

    @property
    def html_id(self) -> str:
        return f"id-{self.html_name}"


class Unreadable(Exception):
    """What was typed is not a value of the field's type."""


class AnswerForm:
    """The fields of one approval. Bound to what was sent, it reads the answer and keeps it for showing again."""

    def __init__(self, schema: Mapping[str, Any], prefix: str, sent: Mapping[str, str] | None = None) -> None:
        self.fields = _fields(schema, prefix)
        self.comment = (sent or {}).get("comment", "")
        self.error = ""
        """What is wrong with the answer as a whole."""
        for one in self.fields if sent is not None else ():
            one.value = (sent or {}).get(one.html_name, "")

    @property
    def is_valid(self) -> bool:
        return not self.error and not any(one.error for one in self.fields)

    def answer(self) -> dict[str, Any]:
        """The answer as JSON; a field that cannot be read keeps its error, and fields left empty are left out."""
        answer: dict[str, Any] = {}
        for one in self.fields:
            try:
                value = _read(one)
            except Unreadable as error:
                one.error = str(error)
                continue
            if value is None:
                continue
            if one.name == "":
                return value if isinstance(value, dict) else {"answer": value}
            answer[one.name] = value[0]
        return answer

    def blame(self, place: str, reason: str) -> None:
        """Put an error of the schema beside its field."""
        name = place.split(".")[0]
        named = next((one for one in self.fields if one.name == name), None)
        if named is None:
            self.error = f"{place}: {reason}"
        else:
            named.error = reason


def _fields(schema: Mapping[str, Any], prefix: str) -> list[Field]:
    properties = schema.get("properties")
    if not schema or properties == {}:
        return []
    if not isinstance(properties, Mapping):
        return [Field(f"{prefix}-answer", "", "json", "Answer (JSON)", required=True, value="{}")]
    required = schema.get("required")
    names = required if isinstance(required, list) else []
    return [
        _field(f"{prefix}-{number}", str(name), rule if isinstance(rule, Mapping) else {}, name in names)
        for number, (name, rule) in enumerate(_in_order(properties, names))
    ]


def _in_order(properties: Mapping[str, Any], names: list[Any]) -> list[tuple[str, Any]]:
    """The required ones first, as `required` lists them: JSONB keeps the order of lists and not that of keys."""
    rank = {name: place for place, name in enumerate(names) if isinstance(name, str)}
    return sorted(properties.items(), key=lambda item: (rank.get(item[0], len(rank)), item[0]))


def _field(html_name: str, name: str, rule: Mapping[str, Any], required: bool) -> Field:
    made = Field(
        html_name,
        name,
        _kind(rule),
        str(rule.get("title") or name),
        str(rule.get("description") or ""),
        required,
    )
    if made.kind == "choice":
        made.choices = [(json.dumps(value), _text(value)) for value in rule["enum"]]
    if "default" in rule:
        default = rule["default"]
        made.value = _text(default) if made.kind in ("text", "long") else json.dumps(default)
        if made.kind == "boolean":
            made.value = "on" if default is True else ""
    return made


def _kind(rule: Mapping[str, Any]) -> str:
    if isinstance(rule.get("enum"), list) and rule["enum"]:
        return "choice"
    stated = rule.get("type")
    if isinstance(stated, list):
        stated = next((one for one in stated if one != "null"), None)
    kind = KINDS.get(stated, "json") if isinstance(stated, str) else "json"
    longest = rule.get("maxLength")
    return "long" if kind == "text" and isinstance(longest, int) and longest > LONG_TEXT else kind


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _read(one: Field) -> Any:
    """The value in a list of one, so that a JSON null is told from a field left empty."""
    text = one.value.replace("\r\n", "\n")
    if one.kind == "boolean":
        return [bool(text)]
    if one.kind in ("text", "long"):
        return [text] if text else None
    if not text.strip():
        return None
    value = _parsed(text)
    if one.kind in ("number", "integer") and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise Unreadable("This is not a number.")
    return value if one.name == "" else [value]


def _parsed(text: str) -> Any:
    try:
        return strict_json.loads(text)
    except strict_json.InvalidValue as error:
        raise Unreadable(f"This cannot be read: {error}") from error
