"""Delta -> chunk -> bytes (contract 10.3)."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from chatwright.api.openai.responses import (
    DisaggregatedObject,
    Logprobs,
    UsageObject,
    disaggregated_object,
    logprobs_object,
    running_usage,
    usage_object,
)
from chatwright.core.deltas import (
    Delta,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
)
from chatwright.core.errors import EngineFailed
from chatwright.core.usage import Usage
from chatwright.service.answer import Answer


class FunctionDelta(msgspec.Struct, frozen=True, kw_only=True):
    """More of a call: its name once, then fragments of its arguments."""

    name: str | UnsetType = UNSET
    arguments: str


class ToolCallChunk(msgspec.Struct, frozen=True, kw_only=True):
    """More of call `index`. `id` and `type` come once: clients join what comes twice."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: FunctionDelta


class ChunkDelta(msgspec.Struct, frozen=True):
    """What is new."""

    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: tuple[ToolCallChunk, ...] | UnsetType = UNSET


class ChunkChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The only choice of a chunk. `stop_reason` is there once `finish_reason` is."""

    index: int = 0
    delta: ChunkDelta
    logprobs: Logprobs | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | str | UnsetType | None = UNSET
    disaggregated_params: DisaggregatedObject | UnsetType = UNSET


class ChatCompletionChunk(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a stream. `usage` is left out unless `stream_options` asks for it."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str
    service_tier: str
    choices: tuple[ChunkChoice, ...]
    usage: UsageObject | UnsetType | None = UNSET


class ChunkEncoder:
    """Writes the events of one stream. What all of them share is encoded once."""

    def __init__(self, answer: Answer, *, include_usage: bool = False, running: bool = False) -> None:
        self.finished = False
        self._include_usage = include_usage
        self._running = include_usage and running
        self._encoder = msgspec.json.Encoder()
        self._answer = answer
        self._tail = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"

    @cached_property
    def _head(self) -> bytes:
        """Made with the first delta: until then the fingerprint may not be known."""
        shared = {
            "id": self._answer.id,
            "object": "chat.completion.chunk",
            "created": self._answer.created,
            "model": self._answer.model,
            "system_fingerprint": self._answer.fingerprint(),
            "service_tier": self._answer.service_tier,
        }
        return b"data: " + self._encoder.encode(shared)[:-1] + b',"choices":['

    def encode(self, delta: Delta) -> bytes:
        """The event of a delta; with the last one comes the usage event. Raises EngineFailed after the last one."""
        if self.finished:
            raise EngineFailed("The answer went on after it had finished.")
        tail = self._usage_tail(running_usage(delta.usage)) if self._running else self._tail
        if isinstance(delta, TextDelta) and not delta.logprobs:  # nearly all there are
            return self._head + _TEXT[0] + self._encoder.encode(delta.text) + _TEXT[1] + tail
        event = self._head + self._encoder.encode(_choice(delta)) + tail
        if isinstance(delta, Finished):
            self.finished = True
            event += self._usage_event(delta.usage)
        return event

    def _usage_event(self, usage: Usage) -> bytes:
        return self._head + self._usage_tail(usage_object(usage)) if self._include_usage else b""

    def _usage_tail(self, usage: UsageObject) -> bytes:
        return b'],"usage":' + self._encoder.encode(usage) + b"}\n\n"


_TEXT = msgspec.json.encode(ChunkChoice(delta=ChunkDelta(content=""))).split(b'""')
"""What stands around the text of a chunk that has nothing else."""


def _choice(delta: Delta) -> ChunkChoice:
    if isinstance(delta, Finished):
        return ChunkChoice(
            delta=ChunkDelta(),
            finish_reason=delta.reason,
            stop_reason=delta.stop_reason,
            disaggregated_params=UNSET if delta.context is None else disaggregated_object(delta.context),
        )
    if isinstance(delta, Started):
        return ChunkChoice(delta=ChunkDelta(role=delta.role, content=""))
    logprobs = logprobs_object(delta.logprobs) if delta.logprobs else None
    if isinstance(delta, TextDelta):
        return ChunkChoice(delta=ChunkDelta(content=delta.text), logprobs=logprobs)
    if isinstance(delta, ReasoningDelta):
        return ChunkChoice(delta=ChunkDelta(reasoning_content=delta.text), logprobs=logprobs)
    return ChunkChoice(delta=ChunkDelta(tool_calls=(_tool_call(delta),)), logprobs=logprobs)


def _tool_call(delta: ToolCallDelta) -> ToolCallChunk:
    if delta.id is None or delta.name is None:
        return ToolCallChunk(index=delta.index, function=FunctionDelta(arguments=delta.arguments))
    return ToolCallChunk(
        index=delta.index,
        id=delta.id,
        type="function",
        function=FunctionDelta(name=delta.name, arguments=delta.arguments),
    )
