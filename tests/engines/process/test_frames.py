"""Messages survive the wire between processes."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.engines.process.conftest import request

from chatwright.core.engine import EngineInfo, EngineStats
from chatwright.core.errors import BY_CODE, ChatwrightError
from chatwright.core.generation import Grammar, TokenChunk, TokenLogprob
from chatwright.engines.process import frames
from chatwright.engines.room import Room

CHUNK = TokenChunk((1, 2), (TokenLogprob(1, -0.5, ((1, -0.5), (3, -1.0))),), "stop", 2, True, 3, 4, 5)


def reader_of(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


@pytest.mark.parametrize(
    "message",
    [
        frames.Submit(
            request("x", grammar=Grammar("llguidance", "start: /a/"), draft_token_ids=(1,), deadline=2.5)
        ),
        frames.Abort("x"),
        frames.AskStats(),
    ],
)
async def test_messages_to_the_engine_arrive_whole(message):
    reader = reader_of(frames.encode(message) * 2)
    assert [await frames.read_to_engine(reader) for _ in range(3)] == [message, message, None]


@pytest.mark.parametrize(
    "message",
    [
        frames.Hello(EngineInfo("n", "f", 5, 6), ("careful",)),
        frames.LoadFailed("no"),
        frames.Outputs([("x", CHUNK), ("y", TokenChunk())], Room(1, 2, 3, 4, 5.0), 6),
        frames.Failure("x", "overloaded", "full", "p", 1.5),
        frames.Failure("x", "overloaded", "full", room=Room(1, 2, 3, 4, 5.0), heard=6),
        frames.StatsReply(EngineStats(running=3)),
    ],
)
async def test_messages_from_the_engine_arrive_whole(message):
    assert await frames.read_from_engine(reader_of(frames.encode(message))) == message


@pytest.mark.parametrize("cls", BY_CODE.values())
def test_every_error_crosses_with_all_it_says(cls: type[ChatwrightError]):
    error = cls("what is wrong", param="p", retry_after=2.0)
    back = frames.error_of(frames.failure("x", error))
    assert (type(back), back.message, back.param, back.retry_after) == (cls, error.message, "p", 2.0)


@pytest.mark.parametrize("cut", range(0, 12, 3))
async def test_a_frame_that_is_cut_off_is_a_hang_up(cut):
    data = frames.encode(frames.LoadFailed("no"))
    assert cut < len(data)
    assert await frames.read_from_engine(reader_of(data[:cut])) is None


async def test_a_frame_too_long_is_a_hang_up_and_garbage_is_an_error():
    assert await frames.read_from_engine(reader_of(b"\xff\xff\xff\xff")) is None
    with pytest.raises(msgspec.DecodeError):
        await frames.read_from_engine(reader_of(b"\x02\x00\x00\x00\xc1\xc1"))
