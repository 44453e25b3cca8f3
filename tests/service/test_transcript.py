"""From token chunks to Deltas, counts and logprobs."""

from __future__ import annotations

import pytest

from chatwright.core.deltas import Finished, TextDelta
from chatwright.core.generation import TokenChunk, TokenLogprob
from chatwright.service.transcript import Transcript

EOS = 2


@pytest.fixture
def transcript(new_model, recut, new_request):
    def make(**members):
        return Transcript(new_request(**members), new_model(recut(())), "prompt", 10)

    return make


def ended(transcript, *chunks):
    """All deltas of these chunks, as text, entries and the Finished."""
    deltas = [delta for chunk in chunks for delta in transcript.feed(chunk)] + transcript.finish()
    texts = [delta for delta in deltas if isinstance(delta, TextDelta)]
    assert isinstance(deltas[-1], Finished)
    entries = [entry.token for delta in texts for entry in delta.logprobs]
    return "".join(delta.text for delta in texts), entries, deltas[-1]


def certain(*tokens):
    return tuple(TokenLogprob(token, 0.0) for token in tokens)


def test_usage_joins_all_chunks(transcript, default_tokenizer):
    a, b = default_tokenizer.encode("one two")
    text, _, finished = ended(
        transcript(),
        TokenChunk((), cached_tokens=4),
        TokenChunk((a,), accepted_draft_tokens=1, rejected_draft_tokens=2),
        TokenChunk((b, EOS), finish="stop", stop_token=EOS, stop_token_is_eos=True, accepted_draft_tokens=1),
    )
    usage = finished.usage
    assert text == "one two"
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (10, 3, 4)
    assert (usage.accepted_prediction_tokens, usage.rejected_prediction_tokens) == (2, 2)
    assert (finished.reason, finished.stop_reason) == ("stop", None)


def test_eos_has_no_logprob_and_a_stop_id_is_reported(transcript, default_tokenizer):
    a, b = default_tokenizer.encode("one two")
    chunk = TokenChunk((a, b), certain(a, b), finish="stop", stop_token=b)
    text, entries, finished = ended(transcript(logprobs=0), chunk)
    assert (text, entries, finished.stop_reason) == ("one", ["one"], b)
    text, entries, finished = ended(transcript(logprobs=0, include_stop=True), chunk)
    assert (text, entries, finished.stop_reason) == ("one two", ["one", " two"], b)
    chunk = TokenChunk((a, EOS), certain(a, EOS), finish="stop", stop_token=EOS, stop_token_is_eos=True)
    for include in (False, True):
        text, entries, finished = ended(transcript(logprobs=0, include_stop=include), chunk)
        assert (text, entries, finished.stop_reason) == ("one", ["one"], None)


def test_tokens_after_a_stop_string_do_not_count(transcript, default_tokenizer):
    tokens = default_tokenizer.encode("one two three four")
    one = transcript(stop=("two",))
    text, _, finished = ended(one, TokenChunk(tokens, finish="length"))
    assert one.complete
    assert (text, finished.reason, finished.stop_reason) == ("one ", "stop", "two")
    assert finished.usage.completion_tokens == 2


def test_drafts_after_a_stop_string_are_rejected_ones(transcript, default_tokenizer):
    tokens = default_tokenizer.encode("one two three four")
    chunk = TokenChunk(tokens, accepted_draft_tokens=3, rejected_draft_tokens=1)
    one = transcript(stop=("two",))
    running = one.feed(chunk)[-1].usage
    usage = one.finish()[-1].usage
    assert running == usage
    assert usage.completion_tokens == usage.accepted_prediction_tokens == 2
    assert usage.rejected_prediction_tokens == 2


def test_incomplete_character_ends_as_a_replacement(transcript, default_tokenizer):
    first, _ = default_tokenizer.encode("🙂")
    text, entries, finished = ended(
        transcript(logprobs=0), TokenChunk((first,), certain(first), finish="length")
    )
    assert (text, entries, finished.reason) == ("\ufffd", ["\ufffd"], "length")
