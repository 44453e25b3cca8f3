"""`RemoteEngine`: one server of another engine, behind the `Engine` seam."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any

import httpx
import msgspec

from chatwright.core.engine import EngineInfo, EngineStats
from chatwright.core.errors import (
    ChatwrightError,
    DeadlineExceeded,
    EngineFailed,
    Overloaded,
    ServerError,
    UnsupportedParameter,
)
from chatwright.core.generation import GenerationRequest, TokenChunk
from chatwright.engines.remote.backend import Backend
from chatwright.engines.remote.breaker import Breaker
from chatwright.engines.remote.connection import Connection, RefusedError, events
from chatwright.engines.remote.contexts import Contexts
from chatwright.engines.remote.dialect import Answer, Dialect, Greeting, Reader, Reply, WireRequest
from chatwright.engines.remote.endings import Endings
from chatwright.engines.remote.failures import of_status, of_transport
from chatwright.engines.remote.health import HealthCheck
from chatwright.engines.remote.load import Load

log = logging.getLogger("chatwright.engine")

DONE = b"[DONE]"
ASK_SECONDS = 10.0
TAIL_SECONDS = 1.0
"""How long what follows a complete answer is waited for: counts, and the end that lets the connection be used again."""


class RemoteEngine:
    """Speaks to `backend` in its `dialect`. `contexts` is shared by the engines of one model; None: none are handed over."""

    def __init__(self, dialect: Dialect, backend: Backend, contexts: Contexts | None = None) -> None:
        self._dialect = dialect
        self._backend = backend
        self._contexts = contexts
        self._breaker = Breaker()
        self._connection: Connection | None = None
        self._greeting: Greeting | None = None
        self._health = HealthCheck(
            self._breaker, self._greet, self._check, self._give_up, backend.check_every
        )
        self._waiting: set[asyncio.Timeout] = set()
        self._load = Load(dialect.stats, self._page)

    @property
    def info(self) -> EngineInfo:
        """As the server said when it was greeted last."""
        assert self._greeting is not None, "start() first"
        told = self._greeting
        lacking = told.unsupported
        if self._contexts is None:
            lacking = (*lacking, "disaggregated_params")
        marks = f"{self._dialect.name}\n{told.version}\n{told.model}\n{told.context_length}"
        return EngineInfo(
            name=self._dialect.name,
            fingerprint=hashlib.blake2b(marks.encode(), digest_size=8).hexdigest(),
            vocab_size=self._backend.vocab_size,
            context_length=self._backend.context_length,
            supports_logprobs="logprobs" not in told.unsupported,
            unsupported=tuple(dict.fromkeys(lacking)),
        )

    @property
    def ready(self) -> bool:
        """Whether the server was up when it was last heard of."""
        return self._greeting is not None and self._connection is not None and self._breaker.state != "open"

    @property
    def active(self) -> int:
        """Requests that are with the server."""
        return self._load.running

    async def start(self) -> None:
        """Wait until the server is up, then find out what it serves. Raises EngineFailed where it doesn't come up in time, or
        serves something else.
        """
        self._connection = Connection(self._backend)
        try:
            await self._health.first(self._backend.patience)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Hang up; what still runs fails. It can be started again."""
        await self._health.stop()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
        """See `Engine.generate`. Raises UnsupportedParameter too, for a value that this server can't honour."""
        wire = self._admitted(request)
        with self._load.counting(request) as count:
            async with aclosing(self._chunks(request, wire)) as chunks:
                async for chunk in chunks:
                    count(chunk)
                    yield chunk

    async def stats(self) -> EngineStats:
        """Our own counts of requests and tokens, and what the server's /metrics said of its load a moment ago."""
        return await self._load.stats() if self.ready else self._load.ours()

    # -- one request --------------------------------------------------------------------------------------------

    def _admitted(self, request: GenerationRequest) -> WireRequest:
        """What to send. Raises Overloaded, UnsupportedParameter, ContextNotFound."""
        if not self.ready or self._greeting is None:
            raise Overloaded("The engine can't be reached; try again in a moment.", retry_after=2.0)
        if self._load.running >= self._backend.connections:
            raise Overloaded("The engine has as many requests as it may have.", retry_after=1.0)
        half, handoff = request.handoff, None
        if half is not None and "disaggregated_params" in self.info.unsupported:
            raise UnsupportedParameter(
                f"{self._dialect.name} hands no contexts over.", param="disaggregated_params"
            )
        if half is not None and half.kind == "continuation" and self._contexts is not None:
            handoff = self._contexts.take(half.context_id)
        return self._dialect.request(request, self._greeting, handoff)

    async def _chunks(self, request: GenerationRequest, wire: WireRequest) -> AsyncGenerator[TokenChunk]:
        try:
            async with aclosing(self._read(request, wire)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except (httpx.HTTPError, RefusedError, ServerError, ValueError) as error:
            raise self._failure(error) from None

    async def _read(self, request: GenerationRequest, wire: WireRequest) -> AsyncGenerator[TokenChunk]:
        assert self._connection is not None
        endings, reader = Endings(request, self._dialect.name), self._dialect.reader(request)
        async with AsyncExitStack() as stack:
            async with self._before_first_token(request.deadline):
                response = await stack.enter_async_context(self._connection.post(wire))
                stream = await stack.enter_async_context(aclosing(events(response, stream=wire.stream)))
                event = await anext(stream, DONE)
            while event != DONE:
                reply = reader.read(event)
                self._breaker.succeed()
                self._keep(request, reply)
                chunk = endings.take(reply)
                if chunk.finish is not None:
                    tail = await _tail(stream, reader) if reply.finish is not None and not reply.done else 0
                    yield msgspec.structs.replace(chunk, cached_tokens=chunk.cached_tokens + tail)
                    return
                if chunk.token_ids or chunk.cached_tokens:
                    yield chunk
                event = await anext(stream, DONE)
        raise EngineFailed(f"{self._dialect.name} broke off its answer.")

    @contextlib.asynccontextmanager
    async def _before_first_token(self, deadline: float | None) -> AsyncGenerator[None]:
        """Raises DeadlineExceeded where the block isn't through by then, in Unix time; EngineFailed where the server's health
        can't be seen meanwhile: another may serve the request.
        """
        seconds = None if deadline is None else max(0.0, deadline - time.time())
        try:
            async with asyncio.timeout(seconds) as waiting:
                self._waiting.add(waiting)
                try:
                    yield
                finally:
                    self._waiting.discard(waiting)
        except TimeoutError:
            if deadline is not None and time.time() >= deadline:
                raise DeadlineExceeded("The request's deadline passed before its first token.") from None
            raise EngineFailed(f"{self._dialect.name} no longer answers.") from None

    def _give_up(self) -> None:
        """The server is not well: who still waits for a first token waits no longer."""
        now = asyncio.get_running_loop().time()
        for waiting in self._waiting:
            if not waiting.expired():
                waiting.reschedule(now)

    def _keep(self, request: GenerationRequest, reply: Reply) -> None:
        """What the second half of this request will need."""
        half = request.handoff
        if (
            half is not None
            and half.kind == "context"
            and reply.handoff is not None
            and self._contexts is not None
        ):
            self._contexts.keep(half.context_id, reply.handoff)

    def _failure(self, error: Exception) -> ChatwrightError:
        """Which error this is for the client, and what it means for the breaker."""
        name = self._dialect.name
        if self._connection is None:
            return EngineFailed("The server is shutting down.")
        if isinstance(error, DeadlineExceeded | Overloaded):
            return error
        if isinstance(error, RefusedError):
            found = of_status(name, error.status, error.body, self._dialect.fields, error.retry_after)
        elif isinstance(error, httpx.HTTPError):
            found = of_transport(name, error)
        elif isinstance(error, ServerError):
            found = error
        else:
            log.error("%s sent what can't be read: %s: %s", name, type(error).__name__, error)
            found = EngineFailed(f"{name} sent an answer that can't be read.")
        if isinstance(found, EngineFailed) or isinstance(error, httpx.HTTPError):
            self._breaker.fail()
            self._health.wake()
        return found

    # -- the server's health ------------------------------------------------------------------------------------

    async def _ask(self, method: str, path: str, body: Any) -> Answer:
        if self._connection is None:
            raise Overloaded("The engine was closed.")
        try:
            return await self._connection.ask(method, path, body, ASK_SECONDS)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise Overloaded(
                f"{self._dialect.name} at {self._backend.url} can't be reached: {reason}"
            ) from None

    async def _check(self) -> None:
        """Raises Overloaded where the server isn't well."""
        answer = await self._ask("GET", "/health", None)
        if answer.status != 200:
            raise Overloaded(
                f"{self._dialect.name} at {self._backend.url} isn't ready: /health says {answer.status}"
            )

    async def _greet(self) -> None:
        """Check, and find out what is served. Raises Overloaded where it isn't up, EngineFailed where it isn't ours."""
        await self._check()
        greeting = await self._dialect.greet(self._ask, self._backend.model, self._backend.eos_token_ids)
        wanted, has = self._backend.context_length, greeting.context_length
        if has is not None and has < wanted:
            raise EngineFailed(
                f"{self._dialect.name} holds {has} tokens a sequence, this model {wanted}: set context_length = {has}."
            )
        self._greeting = greeting

    async def _page(self) -> str:
        """The text of /metrics; empty where there is none."""
        with contextlib.suppress(ChatwrightError):
            answer = await self._ask("GET", "/metrics", None)
            return answer.body if answer.status == 200 and isinstance(answer.body, str) else ""
        return ""


async def _tail(stream: AsyncGenerator[bytes], reader: Reader) -> int:
    """Read what follows a complete answer, for the cached tokens it tells; its failure is none of the answer's."""
    cached = 0
    with contextlib.suppress(Exception):
        async with asyncio.timeout(TAIL_SECONDS):
            async for event in stream:
                if event != DONE:
                    cached += reader.read(event).cached_tokens
    return cached
