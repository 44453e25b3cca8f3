"""Watches one server: greets it when it comes up, notices when it goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from chatwright.core.errors import ChatwrightError, EngineFailed, Overloaded
from chatwright.engines.remote.breaker import Breaker

log = logging.getLogger("chatwright.engine")

MISSED = 2
"""Health checks that fail, one after the other, before nothing is sent there any more."""
RETRY_SECONDS = 0.5


class HealthCheck:
    """`greet` raises Overloaded while the server isn't up and EngineFailed where it isn't the right one; `check` raises
    Overloaded where it isn't well; `lost` is told when nothing is sent there any more.
    """

    def __init__(
        self,
        breaker: Breaker,
        greet: Callable[[], Awaitable[None]],
        check: Callable[[], Awaitable[None]],
        lost: Callable[[], None],
        every: float,
    ) -> None:
        self._breaker = breaker
        self._greet = greet
        self._check = check
        self._lost = lost
        self._every = every
        self._missed = 0
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def first(self, patience: float) -> None:
        """Greet the server as soon as it is up, then keep watching it. Raises EngineFailed."""
        until = time.monotonic() + patience
        while True:
            try:
                await self._greet()
                break
            except Overloaded as error:
                if time.monotonic() >= until:
                    raise EngineFailed(error.message) from None
            await asyncio.sleep(RETRY_SECONDS)
        self._breaker.succeed()
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Watch it no longer."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def wake(self) -> None:
        """A request failed: the breaker may have opened."""
        self._woken.set()

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._breaker.seconds_left or self._every):
                    await self._woken.wait()
            self._woken.clear()
            if self._breaker.state == "open":
                await self._try_again()
            else:
                await self._look()

    async def _try_again(self) -> None:
        """The trial of an open breaker: who came back may be another version, or serve another model."""
        if self._breaker.seconds_left:
            return
        try:
            await self._greet()
        except ChatwrightError as error:
            log.error("%s", error.message)
            self._breaker.trip()
        else:
            self._missed = 0
            self._breaker.probed()

    async def _look(self) -> None:
        try:
            await self._check()
            self._missed = 0
        except Overloaded as error:
            self._missed += 1
            if self._missed >= MISSED:
                log.error("%s", error.message)
                self._breaker.trip()
                self._lost()
