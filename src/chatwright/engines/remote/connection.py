"""The keep-alive connections to one server."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

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
        self._client = httpx.AsyncClient(
            base_url=backend.url,
            headers=headers,
            timeout=httpx.Timeout(
                connect=CONNECT_SECONDS, write=WRITE_SECONDS, pool=CONNECT_SECONDS, read=backend.silence
            ),
            transport=httpx.AsyncHTTPTransport(
                limits=httpx.Limits(
                    max_connections=backend.connections + SPARE,
                    max_keepalive_connections=backend.connections + SPARE,
                    keepalive_expiry=KEPT_SECONDS,
                ),
                trust_env=False,
                verify=backend.url.startswith("https:"),  # reading all the certificates takes a while
                socket_options=NOTICE_DEATH,
            ),
            trust_env=False,
        )

    async def close(self) -> None:
        """End them all; what still runs fails."""
        await self._client.aclose()

    async def ask(self, method: str, path: str, body: Any, seconds: float) -> Answer:
        """A short exchange, whatever its status."""
        content = None if body is None else msgspec.json.encode(body)
        response = await self._client.request(method, path, content=content, timeout=seconds)
        return Answer(response.status_code, _decoded(response.content))

    @asynccontextmanager
    async def post(self, wire: WireRequest) -> AsyncGenerator[httpx.Response]:
        """Send a request; what is read of its answer comes from `events`. Leaving early closes the connection, which tells the
        server to stop. Raises RefusedError.
        """
        response = await self._send(wire)
        try:
            if response.status_code != 200:
                body = _decoded(await _whole(response))
                raise RefusedError(response.status_code, body, response.headers.get("retry-after"))
            yield response
        finally:
            await response.aclose()

    async def _send(self, wire: WireRequest) -> httpx.Response:
        """Once more where the server had closed the connection in the meantime: it can't have begun then."""
        content = msgspec.json.encode(wire.body)
        try:
            return await self._client.send(
                self._client.build_request("POST", wire.path, content=content), stream=True
            )
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            return await self._client.send(
                self._client.build_request("POST", wire.path, content=content), stream=True
            )


async def events(response: httpx.Response, *, stream: bool) -> AsyncGenerator[bytes]:
    """The data of its events; of an answer that isn't streamed, its body. Raises ValueError for what is no event stream."""
    if not stream:
        yield await _whole(response)
        return
    parser = EventParser()
    async for data in response.aiter_raw():
        for event in parser.feed(data):
            yield event
    if not parser.whole:
        raise ValueError("the stream ends within an event")


async def _whole(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_raw():
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
