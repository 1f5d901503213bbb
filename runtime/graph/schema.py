"""The wire form of a TaskGraph as a JSON Schema, written from the tables that `parse` checks with."""

import json
from typing import Any

from runtime.expressions import IDENTIFIER
from runtime.graph.fields import COMPENSATE
from runtime.graph.kinds import COMMON, SHAPES, Shape

ID = {"type": "string", "pattern": f"^{IDENTIFIER}$", "maxLength": 100}


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12). Says nothing of what needs a second look: cycles, references, registries."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "TaskGraph",
        "type": "object",
        "required": ["nodes"],
        "additionalProperties": False,
        "properties": {
            "nodes": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/node"}},
            "edges": {"type": "array", "items": {"$ref": "#/$defs/edge"}},
            "result": {"description": "A JSON value in which texts may hold ${expression}."},
            "compensate": {
                **COMPENSATE.schema,
                "description": "On which ends of the job its calls are undone; without it, never.",
            },
        },
        "$defs": {"node": _node(), "edge": _edge()},
    }


def _node() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["id", "kind"],
        "properties": {
            "id": ID,
            "kind": {"type": "string", "minLength": 1},
            **{key: field.schema for key, field in COMMON.items()},
        },
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}}, "then": _shape(shape)}
            for kind, shape in SHAPES.items()
        ],
    }


def _shape(shape: Shape) -> dict[str, Any]:
    own = {**shape.required, **shape.optional}
    anything = dict.fromkeys(["id", "kind", *COMMON], True)
    return {
        "required": list(shape.required),
        "properties": {**anything, **{key: field.schema for key, field in own.items()}},
        "additionalProperties": False,
        **(shape.rule.schema if shape.rule else {}),
    }


def _edge() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["from", "to"],
        "additionalProperties": False,
        "properties": {
            "from": ID,
            "to": ID,
            "when": {
                "type": ["boolean", "string"],
                "description": "The outcome of `from` on which the edge is taken; without it, on completion.",
            },
        },
    }


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
