"""Text at the answer's start that a parser would take for a call can't get round the grammar."""

from __future__ import annotations

import json

import pytest

from chatwright.core.chat import OutputOptions
from chatwright.core.deltas import ToolCallDelta
from chatwright.core.messages import Tool
from chatwright.core.usage import Usage
from chatwright.grammar.build import build
from chatwright.grammar.markup import Job, ToolSpec
from chatwright.grammar.matcher import GrammarError, Vocabulary
from chatwright.parsing.format import JsonCalls
from chatwright.parsing.machine import OutputParser
from chatwright.parsing.pieces import Piece
from chatwright.parsing.registry import all_formats
from chatwright.service.markup import markup_of

EOS = 2
TOOL = Tool("get_time", None, None)
BARE = sorted(
    name for name, fmt in all_formats().items() if fmt.bare and isinstance(fmt.bodies[0], JsonCalls)
)
WRONG = '"arguments": {"made": "up"}'
CALLS = [  # WRONG stands for the arguments
    '{"name": "get_time", WRONG}',
    '{"type": "function", "name": "get_time", WRONG}',
    '{"id": "a\\"b", "type": null, "name": "get_time", WRONG}',
    ' [ {"id": 7, "arguments": {"made": "up"}, "name": "get_time"}]',
    '{"type": {"deep": ["}"]}, "name": "get_time", WRONG}',
    '{"type": [1], "function": {"name": "get_time", WRONG}}',
    '{"n\\u0061me": "get_time", WRONG}',
    '{"typ\\u0065": 1, "name": "get_time", WRONG}',
    '{"name": "get\\u005ftime", WRONG}',
]
TEXTS = [
    '{"type": "circle", "radius": 3}',
    '{"id": 1, "name": "Ann"}',
    '[{"id": "x"}, {"type": 5}]',
    '{"name": "get_times"}',
    '{"city": "Rome", "name": "x"}',
]


@pytest.fixture(scope="module")
def vocabulary(default_model):
    return Vocabulary(default_model.tokenizer.read_text(), default_model.manifest.vocab_size, [EOS])


def takes(vocabulary, fmt, text):
    job = Job(tools=(ToolSpec(TOOL.name, None, False, "tools"),), markup=markup_of(fmt))
    matcher = vocabulary.compile(build(job, vocabulary.special, [EOS]).source)
    try:
        matcher.accept(vocabulary.tokenizer.tokenize_str(text))
    except GrammarError:
        return False
    return matcher.accepting


def calls(fmt, text):
    parser = OutputParser(OutputOptions(), format=fmt, tools=[TOOL])
    deltas = parser.feed([Piece(text, False)], Usage())
    deltas += parser.finish("stop", None, Usage())
    return [delta.name for delta in deltas if isinstance(delta, ToolCallDelta) and delta.name]


@pytest.mark.parametrize("name", BARE)
@pytest.mark.parametrize("text", CALLS)
def test_a_bare_call_in_any_guise_is_the_grammars(vocabulary, name, text):
    fmt = all_formats()[name]
    text = text.replace("WRONG", WRONG)
    json.loads(text)
    assert calls(fmt, text) == ["get_time"], "the parser reads it"
    assert not takes(vocabulary, fmt, text)


@pytest.mark.parametrize("name", BARE)
@pytest.mark.parametrize("text", TEXTS)
def test_json_that_is_no_call_is_still_free_text(vocabulary, name, text):
    fmt = all_formats()[name]
    assert calls(fmt, text) == []
    assert takes(vocabulary, fmt, text)
