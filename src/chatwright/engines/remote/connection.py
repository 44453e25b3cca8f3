"""The keep-alive connections to one server."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from chatwright.engines.remote import http1
from chatwright.engines.remote.backend import Backend
from chatwright.engines.remote.dialect import Answer, WireRequest
from chatwright.engines.remote.events import EventParser

CONNECT_SECONDS = 5.0
WRITE_SECONDS = 30.0
KEPT_SECONDS = 4.0
"""How long an idle connection is kept: less than such servers keep theirs (uvicorn: 5 s), so that ours ends first."""
SPARE = 4
"""Connections besides those of requests, for health checks and metrics."""
MOST_BYTES = 64 << 20
DEAD_SECONDS = 15
NOTICE_DEATH = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, DEAD_SECONDS // 3),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, DEAD_SECONDS // 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_SECONDS * 1000),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)
"""The kernel breaks a connection whose other end has vanished after so long, however long an answer may be silent (Linux)."""


class RefusedError(Exception):
    """The server answered with another status than 200."""

    def __init__(self, status: int, body: Any, retry_after: str | None) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.body = body
        self.retry_after = retry_after


class Connection:
    """Everything here raises httpx.HTTPError where the transport fails."""

    def __init__(self, backend: Backend) -> None:
        headers = {"accept-encoding": "identity", "content-type": "application/json"}
        if backend.api_key is not None:
            headers["authorization"] = f"Bearer {backend.api_key}"
        secure = backend.url.startswith("https:")
        tls = (
            httpx.create_ssl_context(trust_env=False) if secure else None
        )  # reading the certificates takes a while
        self._client = httpx.AsyncClient(
            base_url=backend.url,
            headers=headers,
            timeout=CONNECT_SECONDS,
            limits=httpx.Limits(max_connections=SPARE, keepalive_expiry=KEPT_SECONDS),
            trust_env=False,
            verify=tls if tls is not None else False,
        )
        times = http1.Times(CONNECT_SECONDS, WRITE_SECONDS, backend.silence, KEPT_SECONDS)
        self._pool = http1.Pool(backend.url, headers, times, NOTICE_DEATH, tls)

    async def close(self) -> None:
        """End them all; what still runs fails."""
        self._pool.close()
        await self._client.aclose()

    async def ask(self, method: str, path: str, body: Any, seconds: float) -> Answer:
        """A short exchange, whatever its status."""
        content = None if body is None else msgspec.json.encode(body)
        response = await self._client.request(method, path, content=content, timeout=seconds)
        return Answer(response.status_code, _decoded(response.content))

    @asynccontextmanager
    async def post(self, wire: WireRequest) -> AsyncGenerator[http1.Response]:
        """Send a request; what is read of its answer comes from `events`. Leaving early closes the connection, which tells the
        server to stop. Raises RefusedError.
        """
        async with self._pool.post(wire.path, msgspec.json.encode(wire.body)) as response:
            if response.status != 200:
                body = _decoded(await _whole(response))
                raise RefusedError(response.status, body, response.headers.get("retry-after"))
            yield response


async def events(response: http1.Response, *, stream: bool) -> AsyncGenerator[bytes]:
    """The data of its events; of an answer that isn't streamed, its body. Raises ValueError for what is no event stream."""
    if not stream:
        yield await _whole(response)
        return
    parser = EventParser()
    async for data in response.pieces():
        for event in parser.feed(data):
            yield event
    if not parser.whole:
        raise ValueError("the stream ends within an event")


async def _whole(response: http1.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.pieces():
        size += len(part)
        if size > MOST_BYTES:
            raise ValueError("the body is larger than 64 MiB")
        parts.append(part)
    return b"".join(parts)


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode(errors="replace")
