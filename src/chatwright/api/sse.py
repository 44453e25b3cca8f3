"""Server-Sent Events: frames, heartbeats, back-pressure (contract 10.3, 9.4).

There is never an `id:` field: after one, OpenAI's client takes each heartbeat for an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from starlette.types import Send

from chatwright.api.connection import ClientDisconnected, close, stop

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
_BUFFER_BYTES = 256 * 1024


def frame(payload: bytes) -> bytes:
    """One event. `payload` is JSON, so it has no line break."""
    return b"data: " + payload + b"\n\n"


class EventStream:
    """Frames on their way to a client: made by one task, written by another, joined where several are waiting.

    A client that reads slowly holds back only its own frames, of which at most 256 KiB are kept. One timer a stream
    watches for silence and for clients that stopped reading; a frame costs no timer of its own.
    """

    def __init__(self, frames: AsyncIterator[bytes], *, heartbeat_every: float, stalled_after: float) -> None:
        self._frames = frames
        self._heartbeat_every = heartbeat_every
        self._stalled_after = stalled_after
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._waiter: asyncio.Future[bool] | None = None
        self._since = 0.0  # when the wait for a frame, or the sending of one, began
        self._room = asyncio.Event()
        self._ended = False
        self._failure: Exception | None = None

    async def __aenter__(self) -> Self:
        """Start making frames."""
        self._loop = asyncio.get_running_loop()
        self._making = asyncio.create_task(self._make())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop making frames, and close where they come from."""
        await stop(self._making)
        await close(self._frames)

    async def _make(self) -> None:
        try:
            async for frame_ in self._frames:
                self._waiting.append(frame_)
                self._waiting_bytes += len(frame_)
                self._wake(something=True)
                if self._waiting_bytes >= _BUFFER_BYTES:
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:
            self._failure = error
        finally:
            self._ended = True
            self._wake(something=True)

    async def first(self, seconds: float) -> None:
        """Wait for the first frame, but not longer than this. Raises the failure that came in its place."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wait()
        if self._failure is not None and not self._waiting:
            raise self._failure

    async def write(self, send: Send, on_failure: Callable[[Exception], bytes]) -> None:
        """Send all frames to the end. A failure on the way becomes the last frames, made by `on_failure`.

        Raises ClientDisconnected where the client stops reading.
        """
        try:
            async with asyncio.timeout(None) as stall:
                self._watch(stall)
                try:
                    await self._write(send, on_failure)
                finally:
                    self._timer.cancel()
        except TimeoutError:
            raise ClientDisconnected from None

    async def _write(self, send: Send, on_failure: Callable[[Exception], bytes]) -> None:
        ended = False
        while not ended:
            body = KEEP_ALIVE
            if await self._wait():
                body, ended = self._take(), self._ended
                if ended and self._failure is not None:
                    body += on_failure(self._failure)
            self._since = self._loop.time()
            await send({"type": "http.response.body", "body": body, "more_body": not ended})

    def _take(self) -> bytes:
        body = b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        self._room.set()
        return body

    async def _wait(self) -> bool:
        """Until there is something to write; false where `_watch` found it to take long."""
        if self._waiting or self._ended:
            return True
        self._waiter = self._loop.create_future()
        self._since = self._loop.time()
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def _wake(self, *, something: bool) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(something)

    def _watch(self, stall: asyncio.Timeout) -> None:
        """Look again whenever what goes on now could have taken too long: never late, seldom too early."""
        shortest = min(self._heartbeat_every, self._stalled_after)

        def look() -> None:
            now = self._loop.time()
            due = self._since + (self._stalled_after if self._waiter is None else self._heartbeat_every)
            if now < due:
                self._timer = self._loop.call_at(min(due, now + shortest), look)
            elif self._waiter is None:
                stall.reschedule(now)
            else:
                self._wake(something=False)
                self._timer = self._loop.call_later(shortest, look)

        self._since = self._loop.time()
        self._timer = self._loop.call_later(shortest, look)
