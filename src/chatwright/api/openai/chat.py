"""POST /v1/chat/completions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Protocol
from urllib.parse import quote

import msgspec
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from chatwright.accounts.account import Account
from chatwright.accounts.limits import RateLimitStatus
from chatwright.api.access import note_record
from chatwright.api.auth import account_of
from chatwright.api.body import check_announced, parse_object, read_body
from chatwright.api.connection import close, while_connected
from chatwright.api.errors import body_of, known
from chatwright.api.limits import AFFINITY
from chatwright.api.openai.chunks import ChunkEncoder
from chatwright.api.openai.convert import to_chat_request
from chatwright.api.openai.parse import parse
from chatwright.api.openai.responses import chat_completion
from chatwright.api.openai.wire import ChatCompletionRequest
from chatwright.api.rate_limits import remember, remembered_refusal
from chatwright.api.request_id import request_id_of
from chatwright.api.settings import ApiSettings
from chatwright.api.sse import DONE, HEADERS, EventStream, frame
from chatwright.core.chat import ChatRequest
from chatwright.core.errors import EngineFailed
from chatwright.service.answer import Answer
from chatwright.service.fold import Completion, fold

_CHECKED_ON_LOOP = 16 * 1024
"""Bodies up to this many bytes are checked at once; larger ones in a thread, so that other requests go on."""
_ENCODED_ON_LOOP = 256
"""Logprobs entries up to which an answer is written at once: thousands, with alternatives, take 0.1 seconds."""
_UNUSED_HEADER = 1024


class ChatService(Protocol):
    """Walks a request (`service/`)."""

    async def check(self, account: Account) -> RateLimitStatus:
        """The caller's limits before the body is read. Raises RateLimited, BudgetExceeded, Overloaded."""

    async def limits(self, account: Account) -> RateLimitStatus:
        """The caller's limits now, for answers that need none. Raises Overloaded."""

    async def open(
        self,
        request: ChatRequest,
        account: Account,
        *,
        request_id: str,
        affinity: str | None = None,
        deadline: float | None = None,
    ) -> Answer:
        """Admit the request; its deltas are made while they are iterated. Raises any ChatwrightError.

        `affinity` is an opaque hint which replica has served the conversation before, `deadline` a Unix time in seconds.
        """


class ChatCompletions:
    """The endpoint, an ASGI application."""

    def __init__(self, service: ChatService, settings: ApiSettings) -> None:
        self._service = service
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, check, answer; a client that goes away on the way stops its generation."""
        account = account_of(scope, "inference")
        check_announced(scope["headers"], self._settings.body_bytes)
        with remembered_refusal(scope):
            remember(scope, await self._service.check(account))
        settings = self._settings
        body = await read_body(receive, scope["headers"], settings.body_bytes, settings.stalled_after)
        if len(body) > _CHECKED_ON_LOOP:
            wire, request = await asyncio.to_thread(_check, body)
        else:
            wire, request = _check(body)
        await while_connected(receive, self._answer(scope, send, wire, request, account))

    async def _answer(
        self, scope: Scope, send: Send, wire: ChatCompletionRequest, request: ChatRequest, account: Account
    ) -> None:
        wait = self._settings.deadline
        with remembered_refusal(scope):
            answer = await self._service.open(
                request,
                account,
                request_id=request_id_of(scope),
                affinity=_affinity(scope) or request.prompt_cache_key,
                deadline=None if wait is None else time.time() + wait,
            )
        remember(scope, answer.rate_limits)
        note_record(scope, answer.record)
        try:
            if wire.stream:
                await self._stream(scope, send, wire, answer)
            else:
                await self._whole(scope, send, wire, answer)
        finally:
            await close(answer.deltas)

    async def _whole(self, scope: Scope, send: Send, wire: ChatCompletionRequest, answer: Answer) -> None:
        completion = await fold(answer.deltas)
        if len(completion.logprobs) > _ENCODED_ON_LOOP:
            body = await asyncio.to_thread(_encoded, answer, completion, wire.logprobs)
        else:
            body = _encoded(answer, completion, wire.logprobs)
        start = [
            *_answer_headers(answer),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": start})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, scope: Scope, send: Send, wire: ChatCompletionRequest, answer: Answer) -> None:
        options = wire.stream_options
        encoder = ChunkEncoder(
            answer,
            include_usage=options is not None and options.include_usage,
            running=options is not None and options.continuous_usage_stats,
        )
        events = EventStream(
            _frames(answer, encoder),
            heartbeat_every=self._settings.heartbeat_every,
            stalled_after=self._settings.stalled_after,
        )
        async with events:
            await events.first(self._settings.headers_after)
            start = [*HEADERS, *_answer_headers(answer)]
            await send({"type": "http.response.start", "status": 200, "headers": start})
            request_id = request_id_of(scope)
            await events.write(send, lambda error: frame(body_of(known(error, request_id))) + DONE)


async def _frames(answer: Answer, encoder: ChunkEncoder) -> AsyncIterator[bytes]:
    async for delta in answer.deltas:
        yield encoder.encode(delta)
    if not encoder.finished:
        raise EngineFailed("The answer broke off before it had finished.")
    yield DONE


def _encoded(answer: Answer, completion: Completion, logprobs: bool) -> bytes:
    return msgspec.json.encode(chat_completion(answer, completion, logprobs=logprobs))


def _check(body: bytes) -> tuple[ChatCompletionRequest, ChatRequest]:
    wire = parse(parse_object(body))
    return wire, to_chat_request(wire)


def _affinity(scope: Scope) -> str | None:
    """The client's hint. It never fails a request: one that is too long is none."""
    value = Headers(scope=scope).get("x-session-affinity")
    return value if value and len(value) <= AFFINITY.maximum else None


def _answer_headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    headers: list[tuple[bytes, bytes]] = []
    if answer.unused_variables:
        # Percent-encoded: these names come from the client and may hold anything.
        names = ", ".join(quote(name[:256], safe="") for name in answer.unused_variables)
        headers.append((b"x-chatwright-unused", names[:_UNUSED_HEADER].encode()))
    if answer.checked_keywords:
        headers.append((b"x-chatwright-checked", ", ".join(answer.checked_keywords).encode()))
    if answer.truncated_tokens:
        headers.append((b"x-chatwright-truncated-tokens", b"%d" % answer.truncated_tokens))
    return headers
