"""Schemas of strangers: what may be used, and that nothing else is done with them."""

import time

import pytest

from runtime import schemas
from runtime.graph import Graph, GraphInvalid, TaskGraph


def places(schema):
    return [fault.path for fault in schemas.faults(schema)]


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "properties": {"pattern": {"type": "string"}, "$ref": True}, "required": ["pattern"]},
        {"$defs": {"a": {"type": "integer"}}, "items": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}},
        {"enum": [{"pattern": "("}], "default": {"$ref": "http://example.org"}, "title": "Anything", "format": "date"},
        {"type": ["string", "null"], "minLength": 1, "items": {"multipleOf": 0.5}, "additionalProperties": False},
    ],
)  # fmt: skip
def test_good_schemas_have_no_faults(schema):
    assert places(schema) == []


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        (7, ""),
        ({"type": "nonsense"}, "type"),
        ({"properties": {"a": {"pattern": "^(a+)+$"}}}, "properties.a.pattern"),
        ({"patternProperties": {"(": {}}}, "patternProperties"),
        ({"$ref": "http://127.0.0.1:9/x"}, "$ref"),
        ({"$ref": "#"}, "$ref"),
        ({"items": {"$ref": "#/nope"}}, "items.$ref"),
        ({"$id": "http://127.0.0.1:9/x"}, "$id"),
        ({"$dynamicRef": "#a"}, "$dynamicRef"),
        ({"required": 7}, "required"),
        ({"properties": 7}, "properties"),
        ({"properties": {"a": 7}}, "properties.a"),
        ({"allOf": [{}, {"enum": {}}]}, "allOf[1].enum"),
        ({"minLength": -1}, "minLength"),
        ({"multipleOf": 0}, "multipleOf"),
    ],
)
def test_every_fault_is_named_with_its_place(schema, place):
    assert places(schema) == [place]
    assert schemas.misfit({}, schema) is not None


def test_a_graph_with_a_schema_that_may_not_be_used_is_refused_with_its_place():
    graph = Graph()
    graph.approval("ok", prompt="?", schema={"properties": {"a": {"pattern": "("}}})
    with pytest.raises(GraphInvalid) as refused:
        TaskGraph.parse(graph.build())
    assert [(p.path, p.code) for p in refused.value.problems] == [
        ("nodes[0].schema.properties.a.pattern", "bad_schema")
    ]


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"amount": 5, "who": {"name": "Ada"}}, None),
        ({"amount": "5", "who": {"name": "Ada"}}, "amount"),
        ({"who": {"name": "Ada"}}, "amount"),
        ({"amount": 5, "who": {}}, "who.name"),
        ([], ""),
    ],
)
def test_what_does_not_fit_is_named(value, field):
    who = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    schema = {
        "type": "object", "$defs": {"who": who}, "required": ["amount", "who"],
        "properties": {"amount": {"type": "number"}, "who": {"$ref": "#/$defs/who"}},
    }  # fmt: skip
    wrong = schemas.misfit(value, schema)
    assert (wrong.field if wrong else None) == field


def test_references_cannot_make_the_work_explode():
    doubling = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    began = time.process_time()
    assert schemas.misfit(1, {"$defs": {**doubling, "d40": {}}, "$ref": "#/$defs/d0"}) is not None
    assert schemas.misfit(1, {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}) is not None
    assert time.process_time() - began < 30


def test_a_large_schema_is_looked_at_once():
    schema = {"properties": {f"p{n}": {"anyOf": [{"type": "string"}] * 5} for n in range(20_000)}}
    began = time.process_time()
    assert places(schema) == []
    assert time.process_time() - began < 20  # a second on an idle machine
