"""Messages between the API and an engine process: msgpack of frozen structs, each behind its length.

One `Outputs` frame a step carries the new tokens of the whole batch.
"""

from __future__ import annotations

import asyncio
import struct

import msgspec

from chatwright.core.engine import EngineInfo, EngineStats
from chatwright.core.errors import BY_CODE, ChatwrightError, InternalError
from chatwright.core.generation import GenerationRequest, TokenChunk
from chatwright.engines.room import Room

MAX_FRAME = 1 << 30
_LENGTH = struct.Struct("<I")


class Submit(msgspec.Struct, frozen=True, tag=True):
    """API -> engine: start this request."""

    request: GenerationRequest


class Abort(msgspec.Struct, frozen=True, tag=True):
    """API -> engine: nobody waits for this request any more."""

    id: str


class AskStats(msgspec.Struct, frozen=True, tag=True):
    """API -> engine: answer with `StatsReply`."""


class Hello(msgspec.Struct, frozen=True, tag=True):
    """Engine -> API: loaded and warm. `warnings` are for the operator."""

    info: EngineInfo
    warnings: tuple[str, ...] = ()


class LoadFailed(msgspec.Struct, frozen=True, tag=True):
    """Engine -> API: it will exit; a restart would fail the same way."""

    message: str


class Outputs(msgspec.Struct, frozen=True, tag=True):
    """Engine -> API: what one step made, and how full the waiting room is after it. `heard` counts the connection's
    `Submit`s until then.
    """

    items: list[tuple[str, TokenChunk]]
    room: Room
    heard: int


class Failure(msgspec.Struct, frozen=True, tag=True):
    """Engine -> API: this request ended with an error."""

    id: str
    code: str
    message: str
    param: str | None = None
    retry_after: float | None = None
    room: Room | None = None
    heard: int = 0


class StatsReply(msgspec.Struct, frozen=True, tag=True):
    """Engine -> API: a reading of its load."""

    stats: EngineStats


ToEngine = Submit | Abort | AskStats
FromEngine = Hello | LoadFailed | Outputs | Failure | StatsReply

_encoder = msgspec.msgpack.Encoder()
_to_engine = msgspec.msgpack.Decoder(ToEngine)
_from_engine = msgspec.msgpack.Decoder(FromEngine)


def encode(message: ToEngine | FromEngine) -> bytes:
    """A message as a frame."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


async def _read(reader: asyncio.StreamReader) -> bytes | None:
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return await reader.readexactly(length) if length <= MAX_FRAME else None
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def read_to_engine(reader: asyncio.StreamReader) -> ToEngine | None:
    """The next message from the API; None once it has gone."""
    body = await _read(reader)
    return None if body is None else _to_engine.decode(body)


async def read_from_engine(reader: asyncio.StreamReader) -> FromEngine | None:
    """The next message from the engine; None once it has gone."""
    body = await _read(reader)
    return None if body is None else _from_engine.decode(body)


def failure(request_id: str, error: ChatwrightError, room: Room | None = None, heard: int = 0) -> Failure:
    """An error as a message."""
    return Failure(request_id, error.code, error.message, error.param, error.retry_after, room, heard)


def error_of(message: Failure) -> ChatwrightError:
    """The inverse of `failure`."""
    cls = BY_CODE.get(message.code, InternalError)
    return cls(message.message, param=message.param, retry_after=message.retry_after)
