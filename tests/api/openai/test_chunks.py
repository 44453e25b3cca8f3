import json
import math

import msgspec
import pytest

from chatwright.api.openai.chunks import ChatCompletionChunk, ChunkEncoder
from chatwright.core.deltas import Finished, LogprobEntry, ReasoningDelta, Started, TextDelta, ToolCallDelta
from chatwright.core.errors import EngineFailed
from chatwright.core.usage import Usage
from chatwright.service.answer import Answer

U = Usage(7, 3)
ENTRY = {"token": "a", "logprob": -1, "bytes": [97], "top_logprobs": []}


async def nothing():
    return
    yield


def encoder(**options):
    answer = Answer("chatcmpl-1", 5, 'm"é', lambda: "fp", 7, nothing())
    return ChunkEncoder(answer, **options)


def chunks(encoded):
    events = encoded.decode().split("\n\n")
    assert events[-1] == ""
    return [json.loads(event.removeprefix("data: ")) for event in events[:-1]]


def entry(logprob, top=()):
    return LogprobEntry("a", logprob, (97,), top)


@pytest.mark.parametrize(
    ("delta", "choice"),
    [
        (Started("user", U), {"delta": {"role": "user", "content": ""}}),
        (TextDelta('a"\n\u2028é', U), {"delta": {"content": 'a"\n\u2028é'}}),
        (TextDelta("", U, (entry(-1),)), {"delta": {"content": ""}, "logprobs": {"content": [ENTRY]}}),
        (ReasoningDelta("r", U), {"delta": {"reasoning_content": "r"}}),
        (
            ToolCallDelta(1, "", U, "c", "f"),
            {"delta": {"tool_calls": [{"index": 1, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]}},
        ),
        (ToolCallDelta(1, "{}", U), {"delta": {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]}}),
        (Finished("stop", None, U), {"delta": {}, "finish_reason": "stop", "stop_reason": None}),
        (Finished("stop", "END", U), {"delta": {}, "finish_reason": "stop", "stop_reason": "END"}),
        (Finished("length", 7, U), {"delta": {}, "finish_reason": "length", "stop_reason": 7}),
    ],
)  # fmt: skip
def test_delta_becomes_its_chunk(delta, choice):
    (chunk,) = chunks(encoder().encode(delta))
    assert chunk == {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 5,
        "model": 'm"é',
        "system_fingerprint": "fp",
        "service_tier": "default",
        "choices": [{"index": 0, "logprobs": None, "finish_reason": None, **choice}],
    }


@pytest.mark.parametrize("options", [{}, {"include_usage": True}, {"include_usage": True, "running": True}])
def test_chunks_are_of_the_described_type(options):
    made = encoder(**options)
    for delta in (
        Started("assistant", U),
        TextDelta("a", U, (entry(-1),)),
        ToolCallDelta(0, "", U, "c", "f"),
        Finished("stop", 5, U),
    ):
        for event in made.encode(delta).decode().split("\n\n")[:-1]:
            msgspec.json.decode(event.removeprefix("data: "), type=ChatCompletionChunk)


@pytest.mark.parametrize("logprob", [-math.inf, math.nan, -10_000.0])
def test_logprobs_are_finite(logprob):
    (chunk,) = chunks(encoder().encode(TextDelta("a", U, (entry(logprob, (entry(logprob),)),))))
    (found,) = chunk["choices"][0]["logprobs"]["content"]
    assert found["logprob"] == -9999.0
    assert found["top_logprobs"] == [{"token": "a", "logprob": -9999.0, "bytes": [97]}]


def test_control_tokens_have_no_bytes():
    (chunk,) = chunks(encoder().encode(TextDelta("a", U, (LogprobEntry("<s>", 0.0, None),))))
    assert chunk["choices"][0]["logprobs"]["content"][0]["bytes"] is None


def test_running_usage_has_three_counts_and_the_last_one_all():
    made = encoder(include_usage=True, running=True)
    (first,) = chunks(made.encode(TextDelta("a", U)))
    assert first["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    _, last = chunks(made.encode(Finished("stop", None, U)))
    assert last["choices"] == []
    assert "completion_tokens_details" in last["usage"]


def test_nothing_follows_the_last_delta():
    made = encoder()
    made.encode(Finished("stop", None, U))
    with pytest.raises(EngineFailed):
        made.encode(TextDelta("a", U))


def test_fingerprint_is_asked_for_once_the_engine_has_made_something():
    known = []
    answer = Answer("chatcmpl-1", 5, "m", lambda: known[0], 7, nothing())
    encode = ChunkEncoder(answer).encode
    known.append("fp_loaded")
    (chunk,) = chunks(encode(Started("assistant", U)))
    assert chunk["system_fingerprint"] == "fp_loaded"
