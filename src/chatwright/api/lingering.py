"""A refusal of a client that is still sending its body, on a connection that ends with it.

A socket that is closed with unread bytes in it is reset, and the reset overtakes the refusal: the client would see a broken
connection in place of 401 or 413. So what is still coming is thrown away for a moment before the connection ends.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_SECONDS = 2.0


class Lingering:
    """ASGI middleware: lets clients that ask for `Connection: close` finish what they are sending."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; the response itself is never held back."""
        if scope["type"] != "http" or not _ends_connection(scope):
            await self.app(scope, receive, send)
            return
        unread = True

        async def read() -> Message:
            nonlocal unread
            message = await receive()
            unread = bool(message.get("more_body"))
            return message

        async def drain() -> None:
            while unread:
                await read()

        async def send_and_drain(message: Message) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body")
            if not (last and unread):
                await send(message)
                return
            await send({**message, "more_body": True})
            with suppress(TimeoutError):
                await asyncio.wait_for(drain(), LINGER_SECONDS)
            await send({"type": "http.response.body"})

        await self.app(scope, read, send_and_drain)


def _ends_connection(scope: Scope) -> bool:
    """Whether a body is coming and the connection ends with this request. One that waits for 100 Continue isn't coming."""
    headers = dict(scope["headers"])
    if b"expect" in headers or not (b"content-length" in headers or b"transfer-encoding" in headers):
        return False
    return scope["http_version"] == "1.0" or b"close" in headers.get(b"connection", b"").lower()
