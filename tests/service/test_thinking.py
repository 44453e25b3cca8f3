"""How much a model may think, and that an answer always has room."""

from __future__ import annotations

import pytest

from chatwright.core.errors import UnsupportedParameter
from chatwright.engines.scripted import ScriptedEngine
from chatwright.grammar.compiler import GrammarCompiler
from chatwright.parsing.format import Channels, Format, Reasoning
from chatwright.parsing.registry import by_name
from chatwright.service.thinking import (
    LEAST_ANSWER,
    MOST_RESERVED,
    SHARES,
    allowance,
    check_effort,
    thinking_budget,
)

THINKER = Format("thinker", reasoning=Reasoning("<|im_start|>", "<|im_end|>"))
"""Marked by tokens that the default model has."""


@pytest.fixture
def thinker(new_model, default_model):
    grammars = GrammarCompiler(default_model.tokenizer, 49152, [2])

    def make(fmt):
        return new_model(ScriptedEngine(lambda _: [], vocab_size=49152), format=fmt, grammars=grammars)

    return make


@pytest.mark.parametrize("effort", [None, *SHARES])
@pytest.mark.parametrize("max_tokens", [1, 17, 100, 4096, 262_144])
def test_thinking_leaves_room_for_the_answer(effort, max_tokens):
    tokens = allowance(effort, max_tokens)
    assert 0 <= tokens <= SHARES[effort or "max"] * max_tokens
    least = min(LEAST_ANSWER, max_tokens / 2)
    assert max_tokens - tokens >= max(least, min(max_tokens // 10, MOST_RESERVED))


def test_more_effort_is_more_thinking():
    tokens = [allowance(effort, 1000) for effort in SHARES]
    assert tokens == sorted(tokens)
    assert len(set(tokens)) > 5
    assert tokens[0] == 0
    assert allowance(None, 1000) == tokens[-1]


def test_budget_names_the_markers(thinker):
    budget = thinking_budget("low", thinker(THINKER), "Hi", 1000)
    assert (budget.max_tokens, budget.start, budget.end, budget.inside) == (200, (1,), (2,), False)
    assert thinking_budget(None, thinker(THINKER), "Hi <|im_start|>\n", 1000).inside


def test_budget_of_messages_names_how_the_answer_begins(thinker, default_tokenizer):
    heads = Channels("<|im_start|>", "<repo_name>", "<reponame>", ("<file_sep>",))
    budget = thinking_budget("low", thinker(Format("heads", channels=heads)), "Hi", 1000)
    assert (budget.max_tokens, budget.start, budget.end) == (200, (4,), (5,))
    assert ["".join(map(default_tokenizer.token_text, tokens)) for tokens in budget.then] == [
        "<|im_start|>assistant<repo_name>final<reponame>",
        "<|im_start|>assistant<repo_name>commentary to=",
    ]


def test_markers_may_have_several_tokens(thinker, default_tokenizer):
    budget = thinking_budget("low", thinker(by_name("deepseek_r1")), "Hi", 1000)
    assert budget.end == default_tokenizer.encode("</think>")
    assert len(budget.end) > 1


def test_no_budget_without_thinking(thinker, new_model):
    for fmt in (None, Format("plain"), by_name("llama3_json")):
        assert thinking_budget("low", thinker(fmt), "Hi", 1000) is None
    assert thinking_budget("low", new_model(None, format=THINKER), "Hi", 1000) is None


@pytest.mark.proves("reasoning_effort")
def test_effort_of_a_model_that_does_not_reason_is_refused_unless_its_template_reads_it(thinker):
    with pytest.raises(UnsupportedParameter) as caught:
        check_effort("low", thinker(None), ("reasoning_effort",))
    assert caught.value.param == "reasoning_effort"
    check_effort("low", thinker(None), ())
    check_effort(None, thinker(None), ("reasoning_effort",))
    for fmt in (THINKER, by_name("harmony")):
        check_effort("low", thinker(fmt), ("reasoning_effort",))
