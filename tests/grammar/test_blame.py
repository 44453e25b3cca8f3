"""The path of what a compiler refuses."""

from __future__ import annotations

import json

import pytest

from chatwright.grammar.blame import MOST_TRIES, where

BAD = {"type": "string", "pattern": "("}


def fails(schema):
    """Of definitions only those that are referred to."""
    own = json.dumps({name: part for name, part in schema.items() if name != "$defs"})
    return "(" in own or ("$ref" in own and "(" in json.dumps(schema))


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        (BAD, "$"),
        ({"type": "object", "properties": {"a": {}, "b": {"items": BAD}}}, "$.properties.b.items"),
        ({"anyOf": [{}, {"prefixItems": [True, BAD]}]}, "$.anyOf[1].prefixItems[1]"),
        ({"$defs": {"x": BAD}, "properties": {"a": {"$ref": "#/$defs/x"}}}, "$.$defs.x"),
        (
            {"patternProperties": {"^a": {"additionalProperties": BAD}}},
            "$.patternProperties.^a.additionalProperties",
        ),
        ({"properties": {"a": False}, "not": BAD}, "$"),
    ],
)
def test_the_innermost_part_is_named(schema, path):
    assert where(schema, fails) == path


def test_it_gives_up_after_some_tries():
    wide = {"properties": {f"p{number}": {} for number in range(MOST_TRIES)} | {"last": BAD}}
    tries = []
    assert where(wide, lambda part: tries.append(part) or part == BAD) == "$"
    assert len(tries) == MOST_TRIES
