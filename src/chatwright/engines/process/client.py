"""`ProcessEngine`: the engine in a child process, behind the `Engine` seam; restarted whenever it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from chatwright.core.engine import EngineInfo, EngineStats
from chatwright.core.errors import EngineFailed, Overloaded
from chatwright.core.generation import GenerationRequest, TokenChunk
from chatwright.engines.process import frames
from chatwright.engines.process.attachment import Attachment
from chatwright.engines.process.child import Child
from chatwright.engines.process.options import EngineOptions
from chatwright.engines.process.tcp import TcpAddress
from chatwright.engines.room import RoomWatch
from chatwright.engines.streams import RequestStreams

log = logging.getLogger("chatwright.engine")

BACKOFF_SECONDS = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
STATS_SECONDS = 1.0


class ProcessEngine:
    """Supervises the child. A request that runs when the child dies ends with EngineFailed; none is left waiting.

    A child that says nothing for `silence_seconds`, though it is asked, is taken for hung and replaced.
    """

    def __init__(
        self,
        options: EngineOptions | None,
        *,
        on_ready: Callable[[EngineInfo, tuple[str, ...]], None] | None = None,
        silence_seconds: float = 60.0,
        attach_to: Path | TcpAddress | None = None,
    ) -> None:
        """With `attach_to` the process is another's: it is found there, never started from here, and has its own options."""
        self._options = options
        self._on_ready = on_ready
        self._silence_seconds = silence_seconds
        self._attach_to = attach_to
        self._streams = RequestStreams()
        self._room = RoomWatch()
        self._info: EngineInfo | None = None
        self._child: Child | Attachment | None = None
        self._connected = False
        self._stats: asyncio.Future[EngineStats] | None = None
        self._supervision: asyncio.Task[None] | None = None
        self.restarts = 0

    @property
    def info(self) -> EngineInfo:
        """As the child said."""
        assert self._info is not None, "start() first"
        return self._info

    @property
    def ready(self) -> bool:
        """Whether the child is loaded and connected."""
        return self._connected

    @property
    def pid(self) -> int | None:
        """The child's process id, while it lives."""
        return self._child.pid if self._child is not None else None

    @property
    def active(self) -> int:
        """Requests that this process waits for."""
        return len(self._streams)

    async def start(self) -> None:
        """Spawn the child and wait until it is warm. Raises EngineFailed with its reason if the first start fails."""
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._supervision = asyncio.create_task(self._supervise(first))
        try:
            await first
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the child; what still runs fails. It can be started again."""
        self._disconnect(EngineFailed("The server is shutting down."))
        supervision, self._supervision = self._supervision, None
        if supervision is not None:
            supervision.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await supervision

    def generate(self, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
        """See `Engine.generate`."""
        return self._streams.follow(
            request.id, lambda: self._submit(request), lambda: self._send(frames.Abort(request.id))
        )

    def _submit(self, request: GenerationRequest) -> None:
        if not self._connected:
            raise Overloaded("The engine is not ready; try again in a moment.", retry_after=2.0)
        self._room.sent(len(request.prompt_token_ids))
        self._send(frames.Submit(request))

    def overload(self, waiting_share: float, coming: int) -> Overloaded | None:
        """See `TellsLoad`."""
        return self._room.refusal(waiting_share, coming)

    async def stats(self) -> EngineStats:
        """Ask the child; empty where it doesn't answer within a second."""
        if not self._connected:
            return EngineStats()
        if self._stats is None:
            self._stats = asyncio.get_running_loop().create_future()
            self._send(frames.AskStats())
        try:
            return await asyncio.wait_for(asyncio.shield(self._stats), STATS_SECONDS)
        except TimeoutError:
            return EngineStats()

    def _send(self, message: frames.ToEngine) -> None:
        if self._child is not None and self._connected:
            self._child.send(message)

    # -- supervision --------------------------------------------------------------------------------------------

    async def _supervise(self, first: asyncio.Future[None]) -> None:
        """One child after the other, until cancelled or the first one fails to start."""
        failures = 0
        while True:
            await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
            served, reason = await self._live(first)
            if not first.done():
                first.set_exception(EngineFailed(reason))
                return
            failures = 1 if served else failures + 1
            self.restarts += 1
            log.error("engine process ended (%s); starting it again", reason)

    async def _live(self, first: asyncio.Future[None]) -> tuple[bool, str]:
        """One child's life: whether it ever served, and why it ended. Raises nothing but cancellation, since
        nobody awaits the supervision while requests wait for it.
        """
        served = False
        self._child = child = self._new_child()
        try:
            hello = await child.start()
            self._greet(hello)
            served = True
            if not first.done():
                first.set_result(None)
            reason = await self._receive(child)
        except EngineFailed as error:
            reason = error.message
        except Exception as error:
            log.exception("supervision of the engine process failed")
            reason = f"{type(error).__name__}: {error}"
        finally:
            self._disconnect(
                EngineFailed(
                    "The engine stopped while it served this request. It is being restarted; the request can be sent again."
                )
            )
            await child.end()
        return served, reason

    def _new_child(self) -> Child | Attachment:
        if self._attach_to is not None:
            return Attachment(self._attach_to)
        assert self._options is not None, "a child needs options"
        return Child(self._options)

    def _greet(self, hello: frames.Hello) -> None:
        for warning in hello.warnings:
            log.warning("%s", warning)
        self._info = hello.info
        if self._on_ready is not None:
            self._on_ready(hello.info, hello.warnings)
        self._connected = True

    def _disconnect(self, error: EngineFailed) -> None:
        """From here on nothing comes from this child: whoever waits hears it now."""
        self._connected = False
        self._room.gone()
        self._settle_stats(EngineStats())
        self._streams.fail_all(error)

    def _settle_stats(self, stats: EngineStats) -> None:
        if self._stats is not None and not self._stats.done():
            self._stats.set_result(stats)
        self._stats = None

    async def _receive(self, child: Child | Attachment) -> str:
        """Route its messages until it hangs up; returns how it ended."""
        asking = asyncio.create_task(self._keep_asking(child))
        try:
            async with asyncio.timeout(self._silence_seconds) as silence:
                while (message := await child.receive()) is not None:
                    silence.reschedule(asyncio.get_running_loop().time() + self._silence_seconds)
                    self._route(message)
            return await child.last_words()
        except TimeoutError:
            return f"it said nothing for {self._silence_seconds:g} s"
        finally:
            asking.cancel()

    async def _keep_asking(self, child: Child | Attachment) -> None:
        while True:
            await asyncio.sleep(self._silence_seconds / 3)
            child.send(frames.AskStats())

    def _route(self, message: frames.FromEngine) -> None:
        match message:
            case frames.Outputs(items, room, heard):
                self._room.told(room, heard)
                for request_id, chunk in items:
                    self._streams.put(request_id, chunk)
            case frames.Failure(id=request_id, room=room, heard=heard):
                if room is not None:
                    self._room.told(room, heard)
                self._streams.put(request_id, frames.error_of(message))
            case frames.StatsReply(stats):
                self._settle_stats(stats)
            case _:
                raise EngineFailed("it broke the protocol")
