"""The tokens decide where an answer ends; the server's word only where they don't."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatwright.core.errors import EngineFailed
from chatwright.core.generation import GenerationRequest, Handoff, TokenChunk, TokenLogprob
from chatwright.core.sampling import SamplingParams
from chatwright.engines.remote.dialect import Reply
from chatwright.engines.remote.endings import Endings
from chatwright.engines.scripted import ScriptedEngine

EOS, STOP = 2, 9


def endings(handoff: Handoff | None = None, **params) -> Endings:
    sampling = SamplingParams(
        **({"max_tokens": 5, "seed": 1, "eos_token_ids": (EOS,), "stop_token_ids": (STOP,)} | params)
    )
    return Endings(GenerationRequest("r", (1,), sampling, 9, handoff=handoff), "toy")


@pytest.mark.parametrize(
    ("tokens", "params", "kept", "finish", "stop", "is_eos"),
    [
        ((5, EOS, 6), {}, (5, EOS), "stop", EOS, True),
        ((5, STOP, 6), {}, (5, STOP), "stop", STOP, False),
        ((5, EOS, STOP), {"ignore_eos": True}, (5, EOS, STOP), "stop", STOP, False),
        ((EOS, 5), {"ignore_eos": True, "stop_token_ids": (EOS,)}, (EOS,), "stop", EOS, False),
        ((3, 4, 5, 6, 7, 8), {}, (3, 4, 5, 6, 7), "length", None, False),
        ((3, 4, 5, 6, EOS), {}, (3, 4, 5, 6, EOS), "stop", EOS, True),
        ((EOS, STOP, 5, EOS), {"min_tokens": 3}, (EOS, STOP, 5, EOS), "stop", EOS, True),
        ((3, 4), {}, (3, 4), None, None, False),
    ],
)
def test_end_of_an_answer(tokens, params, kept, finish, stop, is_eos):
    chunk = endings(**params).take(Reply(tokens))
    assert (chunk.token_ids, chunk.finish, chunk.stop_token, chunk.stop_token_is_eos) == (
        kept,
        finish,
        stop,
        is_eos,
    )


@pytest.mark.parametrize(
    ("word", "finish"), [("stop", "stop"), ("length", "length"), ("not_finished", "length")]
)
def test_servers_word_counts_where_no_token_ends_the_answer(word, finish):
    assert endings().take(Reply((5,), finish=word)).finish == finish
    assert endings().take(Reply((5, EOS), finish="length")).finish == "stop"


@pytest.mark.parametrize("word", ["abort", "error", "repetition", ""])
def test_any_other_word_is_a_failure(word):
    with pytest.raises(EngineFailed, match="toy"):
        endings().take(Reply((5,), finish=word))


def test_logprobs_must_fit_the_tokens():
    one = TokenLogprob(5, -1.0)
    assert endings(logprobs=0).take(Reply((5,), (one,))).logprobs == (one,)
    assert endings(logprobs=0).take(Reply((EOS, 6), (one, one))).logprobs == (one,)
    assert endings().take(Reply((5,), (one,))).logprobs == ()
    with pytest.raises(EngineFailed, match="logprobs"):
        endings(logprobs=0).take(Reply((5, 6), (one,)))


def test_tokens_of_the_first_half_are_counted_but_not_given_out():
    continued = endings(Handoff("continuation", 1, (7, 8)), max_tokens=4)
    assert continued.take(Reply((7,))).token_ids == ()
    assert continued.take(Reply((8, 5))).token_ids == (5,)
    last = continued.take(Reply((6,)))
    assert (last.token_ids, last.finish) == ((6,), "length")


def test_another_first_half_is_a_failure():
    with pytest.raises(EngineFailed, match="first half"):
        endings(Handoff("continuation", 1, (7,))).take(Reply((8,)))


@given(
    st.lists(st.integers(0, 12), min_size=8, max_size=12),
    st.lists(st.integers(1, 4), min_size=12, max_size=12),
    st.integers(1, 8),
    st.integers(0, 8),
    st.booleans(),
)
async def test_ends_as_an_engine_of_ours_does(tokens, sizes, most, least, ignore_eos):
    params = {"max_tokens": most, "min_tokens": min(least, most), "ignore_eos": ignore_eos}
    ours = endings(**params)
    found: list[TokenChunk] = []
    rest = tokens
    for size in sizes:
        if not ours.finished and rest:
            found.append(ours.take(Reply(tuple(rest[:size]))))
            rest = rest[size:]
    engine = ScriptedEngine(lambda _: tokens, vocab_size=100)
    await engine.start()
    sampling = SamplingParams(seed=1, eos_token_ids=(EOS,), stop_token_ids=(STOP,), **params)
    wanted = [chunk async for chunk in engine.generate(GenerationRequest("r", (1,), sampling, 9))]
    assert [token for chunk in found for token in chunk.token_ids] == [
        token for chunk in wanted for token in chunk.token_ids
    ]
    ends = [(chunk.finish, chunk.stop_token, chunk.stop_token_is_eos) for chunk in (found[-1], wanted[-1])]
    assert ends[0] == ends[1]
