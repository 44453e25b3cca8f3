"""The HTTP server's life: signals, draining, its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Coroutine, Iterator
from typing import Any

import uvicorn

from chatwright.api.admin.reload import Reloader
from chatwright.core.errors import ChatwrightError
from chatwright.server.app import Server
from chatwright.server.http_protocol import HttpProtocol
from chatwright.workers.heap import settle

log = logging.getLogger("chatwright")

LAST_WORDS_SECONDS = 5
"""How long answers that were cut off may take to say so to clients that read slowly."""
SWITCH_SECONDS = 0.001
"""How long a thread may keep the interpreter from the event loop, which needs it several times for one request."""


class HttpServer(uvicorn.Server):
    """Drains on SIGINT and SIGTERM before it stops listening, so that balancers see it isn't ready; uvicorn's own would
    close the port at once, cancel what is left without a word, and die of the signal as if it had crashed.
    """

    def __init__(self, server: Server, reloading: Reloader) -> None:
        """`reloading` is what SIGHUP does."""
        super().__init__(
            uvicorn.Config(
                server.asgi,
                http=HttpProtocol,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # forwarded headers are the client's words until a proxy is configured
                timeout_graceful_shutdown=LAST_WORDS_SECONDS,
                timeout_keep_alive=75,
            )
        )
        self._server = server
        self._reloading = reloading
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = False

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end, with no long pause for anybody."""
        sys.setswitchinterval(SWITCH_SECONDS)
        settling = asyncio.create_task(self._settle())
        try:
            await super().serve(sockets)
        finally:
            settling.cancel()

    async def _settle(self) -> None:
        """What start-up made stays: looking through it for garbage would stop everybody for 0.1 seconds now and then."""
        await self._server.loaded.wait()
        settle()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGINT and SIGTERM, reload on SIGHUP."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.end)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        yield

    def end(self) -> None:
        """Drain, then stop. A second time stops waiting for running answers."""
        if self._ending:
            self.force_exit = self.should_exit = True
            return
        self._ending = True
        self._start(self._drain())

    def _reload(self) -> None:
        self._start(self._try_reload())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self) -> None:
        try:
            await self._server.drain()
        finally:
            self.should_exit = True

    async def _try_reload(self) -> None:
        try:
            await self._reloading.reload()
        except ChatwrightError:
            return  # the reason has been logged
        except Exception:
            log.exception("the configuration could not be reloaded")
