"""Schemas that refer to themselves: with a way out, and without."""

from __future__ import annotations

import pytest

from chatwright.grammar.finite import endless

HERE = {"$ref": "#"}
ENDING = [
    {"type": "object", "properties": {"a": HERE}},
    {"type": "object", "properties": {"a": {"anyOf": [HERE, {"type": "null"}]}}, "required": ["a"]},
    {"type": ["object", "null"], "properties": {"a": HERE}, "required": ["a"]},
    {"type": "array", "items": HERE},
    {"type": "array", "prefixItems": [{}], "items": HERE, "minItems": 1},
    {"$defs": {"a": {"type": "object", "required": ["b"]}}, "$ref": "#/$defs/a"},
    {"enum": [{"$ref": "#/nowhere"}]},
    {"type": "object", "required": ["a"], "additionalProperties": False},
    False,
    {},
]
ENDLESS = [
    {"type": "object", "properties": {"a": HERE}, "required": ["a"]},
    {"type": "object", "additionalProperties": HERE, "required": ["a"]},
    {"type": "array", "items": HERE, "minItems": 1},
    {"type": "array", "prefixItems": [HERE], "minItems": 1},
    {"type": "object", "properties": {"a": {"oneOf": [HERE, HERE]}}, "required": ["a"]},
    {"type": "object", "allOf": [{}, {"type": "array", "items": HERE, "minItems": 2}]},
]


@pytest.mark.parametrize("schema", ENDING, ids=str)
def test_a_way_out_is_enough(schema):
    assert endless(schema) == ""


@pytest.mark.parametrize("schema", ENDLESS, ids=str)
def test_without_one_the_reference_is_named(schema):
    assert endless(schema) == "#"


def test_two_that_need_each_other():
    one = {"type": "object", "properties": {"b": {"$ref": "#/$defs/b"}}, "required": ["b"]}
    two = {"type": "array", "items": {"$ref": "#/$defs/a"}, "minItems": 1}
    schema = {"$ref": "#/$defs/a", "$defs": {"a": one, "b": two}}
    assert endless(schema) == "#/$defs/a"
    two["minItems"] = 0
    assert endless(schema) == ""
