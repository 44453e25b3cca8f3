"""The shapes of responses (contract 10). Structs, so that encoding is fast and nothing is validated twice."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from chatwright.core.deltas import ContextHandle, FinishReason, LogprobEntry
from chatwright.core.usage import Usage
from chatwright.service.answer import Answer
from chatwright.service.fold import Completion

LOWEST_LOGPROB = -9999.0
"""Stands for minus infinity, which JSON can't write."""


class TopLogprob(msgspec.Struct, frozen=True):
    """A token that was likely at this place."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None


class TokenLogprob(msgspec.Struct, frozen=True):
    """A generated token, and the most likely ones at its place in descending order."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None
    top_logprobs: tuple[TopLogprob, ...]


class Logprobs(msgspec.Struct, frozen=True):
    """One entry for each generated token of the answer."""

    content: tuple[TokenLogprob, ...]


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """What kinds of prompt tokens there were."""

    cached_tokens: int
    audio_tokens: int = 0


class CompletionTokensDetails(msgspec.Struct, frozen=True):
    """What kinds of completion tokens there were."""

    reasoning_tokens: int
    accepted_prediction_tokens: int
    rejected_prediction_tokens: int
    audio_tokens: int = 0


class UsageObject(msgspec.Struct, frozen=True):
    """Token counts. The details are left out of running counts."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | UnsetType = UNSET
    completion_tokens_details: CompletionTokensDetails | UnsetType = UNSET


class FunctionCall(msgspec.Struct, frozen=True):
    """A call's function; `arguments` is JSON text."""

    name: str
    arguments: str


class ToolCallObject(msgspec.Struct, frozen=True, kw_only=True):
    """A complete call."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class ResponseMessage(msgspec.Struct, frozen=True):
    """The answer. `content` is null only beside tool calls."""

    role: str
    content: str | None
    reasoning_content: str | UnsetType = UNSET
    tool_calls: tuple[ToolCallObject, ...] | UnsetType = UNSET


class DisaggregatedObject(msgspec.Struct, frozen=True):
    """The handle of a context that another process may continue (contract 8)."""

    first_gen_tokens: tuple[int, ...]
    ctx_request_id: int
    opaque_state: str
    request_type: Literal["context_only"] = "context_only"
    draft_tokens: tuple[int, ...] = ()


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The only choice of a whole response."""

    index: int = 0
    message: ResponseMessage
    logprobs: Logprobs | None
    finish_reason: FinishReason
    stop_reason: int | str | None
    disaggregated_params: DisaggregatedObject | UnsetType = UNSET


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """A whole response."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: UsageObject
    system_fingerprint: str
    service_tier: str


def chat_completion(answer: Answer, completion: Completion, *, logprobs: bool) -> ChatCompletion:
    """The response to a request that doesn't stream."""
    calls = tuple(
        ToolCallObject(id=call.id, function=FunctionCall(call.name, call.arguments))
        for call in completion.tool_calls
    )
    message = ResponseMessage(
        role=completion.role,
        content=completion.content,
        reasoning_content=UNSET if completion.reasoning is None else completion.reasoning,
        tool_calls=calls or UNSET,
    )
    choice = Choice(
        message=message,
        logprobs=logprobs_object(completion.logprobs) if logprobs else None,
        finish_reason=completion.finish_reason,
        stop_reason=completion.stop_reason,
        disaggregated_params=UNSET
        if completion.context is None
        else disaggregated_object(completion.context),
    )
    return ChatCompletion(
        id=answer.id,
        created=answer.created,
        model=answer.model,
        choices=(choice,),
        usage=usage_object(completion.usage),
        system_fingerprint=answer.fingerprint(),
        service_tier=answer.service_tier,
    )


def disaggregated_object(context: ContextHandle) -> DisaggregatedObject:
    """What a generation_only request sends back."""
    return DisaggregatedObject(context.first_token_ids, context.context_id, context.state)


def usage_object(usage: Usage) -> UsageObject:
    """The final counts, with all details."""
    return UsageObject(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        PromptTokensDetails(usage.cached_tokens),
        CompletionTokensDetails(
            usage.reasoning_tokens, usage.accepted_prediction_tokens, usage.rejected_prediction_tokens
        ),
    )


def running_usage(usage: Usage) -> UsageObject:
    """The counts so far."""
    return UsageObject(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)


def logprobs_object(entries: tuple[LogprobEntry, ...]) -> Logprobs:
    """Entries as the wire has them, every logprob finite."""
    return Logprobs(
        tuple(
            TokenLogprob(
                entry.token,
                _finite(entry.logprob),
                entry.bytes,
                tuple(TopLogprob(top.token, _finite(top.logprob), top.bytes) for top in entry.top),
            )
            for entry in entries
        )
    )


def _finite(logprob: float) -> float:
    return logprob if logprob > LOWEST_LOGPROB else LOWEST_LOGPROB
