"""The shape and order of a stream (contract 10.3)."""

from __future__ import annotations

import re

import pytest

ANSWER = "The capital of France is Paris."


@pytest.mark.proves("stream")
def test_stream_headers_and_order(api, made_id):
    stream = api.stream()
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["cache-control"] == "no-cache"
    assert stream.headers["x-accel-buffering"] == "no"
    assert re.fullmatch(made_id, stream.headers["x-request-id"])
    assert stream.done
    assert stream.choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert stream.choices[-1]["delta"] == {}
    assert stream.finish == ("stop", None)
    assert all("finish_reason" in choice and "logprobs" in choice for choice in stream.choices)
    assert all("role" not in choice["delta"] for choice in stream.choices[1:])
    assert stream.content == ANSWER


def test_text_arrives_in_pieces(api):
    assert len([text for text in api.stream().deltas if text]) > 3


@pytest.mark.parametrize(
    "options", [..., None, {"include_usage": False}, {"include_usage": False, "continuous_usage_stats": True}]
)
def test_no_usage_unless_asked_for(api, options):
    assert all("usage" not in chunk for chunk in api.stream(stream_options=options).chunks)


@pytest.mark.proves("stream_options")
@pytest.mark.parametrize(
    "options", [{}, {"include_usage": True}, {"continuous_usage_stats": False}, {"include_usage": None}]
)
def test_usage_comes_last_and_alone(api, options):
    *chunks, last = api.stream(stream_options=options).chunks
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    whole = api.ask()["usage"]
    assert last["usage"].keys() == whole.keys()
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [last["usage"][name] for name in counts] == [whole[name] for name in counts]


@pytest.mark.proves("stream_options")
def test_continuous_usage_runs_along(api):
    stream = api.stream(stream_options={"continuous_usage_stats": True})
    counts = [chunk["usage"]["completion_tokens"] for chunk in stream.chunks]
    assert counts == sorted(counts)
    assert counts[-1] == counts[-2] == 8
    assert {chunk["usage"]["prompt_tokens"] for chunk in stream.chunks} == {62}
    assert all(u["total_tokens"] == 62 + u["completion_tokens"] for u in (c["usage"] for c in stream.chunks))


@pytest.mark.proves("stream")
@pytest.mark.parametrize(
    "members",
    [
        {"temperature": 1.2, "seed": 7, "max_tokens": 24},
        {"temperature": 1.2, "seed": 8, "max_tokens": 24, "logprobs": True, "top_logprobs": 3},
        {"stop": ["is Paris"], "logprobs": True},
        {"stop": ["al of F"], "include_stop_str_in_output": True, "logprobs": True},
        {"max_tokens": 3, "logprobs": True},
    ],
)
def test_joined_stream_is_the_whole_answer(api, members):
    whole, stream = api.choice(**members), api.stream(**members)
    assert stream.content == whole["message"]["content"]
    assert stream.finish == (whole["finish_reason"], whole["stop_reason"])
    assert stream.logprobs == (whole["logprobs"] or {"content": []})["content"]
