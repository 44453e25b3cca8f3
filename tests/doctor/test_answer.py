"""What the doctor makes of a refusal."""

from __future__ import annotations

import json

import pytest

from chatwright.doctor.answer import Unanswered

NAMED = {
    "message": "seed can't be honoured: m runs on the engine x.",
    "code": "unsupported_parameter",
    "param": "seed",
}


def refusal(status: int = 400, **changes) -> Unanswered:
    return Unanswered(status, json.dumps({"error": NAMED | changes}))


def test_refusal_that_names_the_field_is_the_servers_word():
    assert refusal().unsupported == "seed"


@pytest.mark.parametrize(
    "other",
    [
        refusal(500),
        refusal(code="invalid_value"),
        refusal(param=None),
        refusal(message="no"),
        Unanswered(400, "<html>"),
        Unanswered(400, "[]"),
        Unanswered(400, '{"error": "x"}'),
    ],
)
def test_any_other_refusal_is_a_fault(other):
    assert other.unsupported is None
