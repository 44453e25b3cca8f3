"""Our application as Ray Serve runs it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("chatwright.cluster")

LOADING_SECONDS = 60.0
"""How long a new API replica waits for its models before it takes requests for those it has."""
REQUEST_ID = b"x-request-id"


class Loading(Protocol):
    """What of `server.app.Server` tells how far its models are."""

    @property
    def loaded(self) -> asyncio.Event:
        """Set once every model has been loaded or has failed."""

    def reasons(self) -> Sequence[str]:
        """Why requests would not be served."""


class UnderServe:
    """The application, whose start ends once its models are there: a new replica serves at once what the old one did.

    Serve adds x-request-id to each response by itself, the id of the request; ours stays where it is another one.
    """

    def __init__(self, app: ASGIApp, loading: Loading, seconds: float = LOADING_SECONDS) -> None:
        self._app = app
        self._loading = loading
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, partial(self._send_when_loaded, send))
        else:
            given = [header for header in scope.get("headers", ()) if header[0] == REQUEST_ID]
            await self._app(scope, receive, partial(_send_without, send, given))

    async def _send_when_loaded(self, send: Send, message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            try:
                await asyncio.wait_for(self._loading.loaded.wait(), self._seconds)
            except TimeoutError:
                log.warning("not every model is there yet: %s", "; ".join(self._loading.reasons()))
        await send(message)


async def _send_without(send: Send, given: list[tuple[bytes, bytes]], message: Message) -> None:
    """Leave out headers that Serve will add."""
    if message["type"] == "http.response.start":
        kept = [header for header in message.get("headers", ()) if header not in given]
        message = {**message, "headers": kept}
    await send(message)
