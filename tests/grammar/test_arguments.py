"""What a function takes."""

from __future__ import annotations

import pytest

from chatwright.grammar.arguments import closed

LISTED = {"type": "object", "properties": {"a": {}}}


@pytest.mark.parametrize(
    "more", [{}, {"$schema": "http://json-schema.org/draft-07/schema#", "title": "A", "x-order": 1}]
)
def test_arguments_are_those_that_the_schema_lists(more):
    assert closed({**LISTED, **more})["additionalProperties"] is False


@pytest.mark.parametrize(
    "more", [{"additionalProperties": True}, {"patternProperties": {"^x": {}}}, {"anyOf": [{}]}]
)
def test_a_schema_that_says_more_stays_as_it_is(more):
    assert closed({**LISTED, **more}) == {**LISTED, **more}
    assert closed({"type": "object"}) == {"type": "object"}
