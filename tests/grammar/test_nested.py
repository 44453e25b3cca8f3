"""A grammar within a grammar accepts the same texts as one Lark text."""

from __future__ import annotations

import pytest

from chatwright.grammar.build import build
from chatwright.grammar.markup import Job
from chatwright.grammar.nested import as_one

GRAMMAR = r"""
%llguidance {}
start: greeting " " NAME "}{" /[^}\/"@]+/ "@sub"  // a comment with } and @sub
greeting: "hello" | "\"hi"
NAME: /[a-z]+/
"""


def accepted(vocabulary, source: str, text: str) -> bool:
    """Whether the whole text is an answer."""
    matcher = vocabulary.compile(source)
    for token in vocabulary.tokenizer.tokenize_str(text):
        if not matcher.allows(token):
            return False
        matcher.accept([token])
    return matcher.complete or any(matcher.allows(end) for end in vocabulary.eos_token_ids)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("hello bob}{x@sub", True),
        ('"hi bob}{y z@sub', True),
        ("hello bob}{x", False),
        ("hello @sub", False),
        ("", False),
    ],
)
def test_nested_grammar_accepts_the_same(vocabulary, text, holds):
    built = build(Job(format="grammar", format_source=GRAMMAR), vocabulary.special, vocabulary.eos_token_ids)
    one = as_one(built.source)
    assert not one.startswith("{")
    assert accepted(vocabulary, built.source, text) is holds
    assert accepted(vocabulary, one, text) is holds


def test_grammar_without_others_is_left_alone():
    assert as_one('start: "@a"') == 'start: "@a"'
