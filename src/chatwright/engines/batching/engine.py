"""`BatchingEngine`: an `EngineLoop` in this process, behind the `Engine` seam."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from chatwright.core.engine import EngineInfo, EngineStats
from chatwright.core.errors import ChatwrightError, EngineFailed
from chatwright.core.generation import GenerationRequest, TokenChunk
from chatwright.engines.batching.constraint import Constraints
from chatwright.engines.batching.handoff import KvSpool
from chatwright.engines.batching.loop import EngineLoop, LoopLimits
from chatwright.engines.batching.runner import Runner, RunnerInfo
from chatwright.engines.batching.selfcheck import SelfCheck
from chatwright.engines.streams import RequestStreams

VARYING = "-varying"
"""Ends the fingerprint of an engine whose texts may depend on more than the request."""


def engine_info(runner: RunnerInfo, checked: SelfCheck | None = None) -> EngineInfo:
    """What the seam above batching shows of a runner, as far as that was checked."""
    broken = not runner.reproducible or (checked is not None and checked.broken)
    return EngineInfo(
        name=runner.name,
        fingerprint=runner.fingerprint + (VARYING if broken else ""),
        vocab_size=runner.vocab_size,
        context_length=runner.context_length,
    )


class BatchingEngine:
    """For tests, tools and Ray replicas, which are processes of their own already; `serve` uses a child process."""

    def __init__(
        self,
        make_runner: Callable[[], Runner],
        limits: LoopLimits | None = None,
        constraints: Constraints | None = None,
        handoff_folder: Path | None = None,
    ) -> None:
        """Contexts are kept in `handoff_folder`; without one, requests in two halves are refused."""
        self._make_runner = make_runner
        self._constraints = constraints
        self._handoff_folder = handoff_folder
        self._limits = limits or LoopLimits()
        self._streams = RequestStreams()
        self._failure: EngineFailed | None = None
        self.loop: EngineLoop | None = None

    @property
    def info(self) -> EngineInfo:
        """Of the runner."""
        assert self.loop is not None, "start() first"
        return engine_info(self.loop.runner.info)

    @property
    def ready(self) -> bool:
        """Started and alive."""
        return self.loop is not None and self._failure is None

    @property
    def active(self) -> int:
        """Requests that somebody waits for."""
        return len(self._streams)

    async def start(self) -> None:
        """Build the runner off the event loop, then step. Raises EngineFailed with the reason."""
        self._events = asyncio.get_running_loop()
        try:
            runner = await asyncio.to_thread(self._make_runner)
        except ChatwrightError:
            raise
        except Exception as error:
            raise EngineFailed(f"The engine can't start: {type(error).__name__}: {error}") from error
        folder = self._handoff_folder
        spool = None if folder is None else KvSpool(folder, runner.info.fingerprint)
        self.loop = EngineLoop(runner, self._limits, self, spool=spool, constraints=self._constraints)
        self.loop.start()

    async def close(self) -> None:
        """Stop the loop and fail what is left."""
        if self.loop is not None:
            loop, self.loop = self.loop, None
            await asyncio.to_thread(loop.stop)
            loop.runner.close()
        self._streams.fail_all(EngineFailed("The engine was stopped."))

    def generate(self, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
        """See `Engine.generate`."""
        if self.loop is None or self._failure is not None:
            raise self._failure or EngineFailed("The engine is not running.")
        loop = self.loop
        return self._streams.follow(request.id, lambda: loop.submit(request), lambda: loop.abort(request.id))

    async def stats(self) -> EngineStats:
        """Of the loop."""
        return self.loop.stats() if self.loop is not None else EngineStats()

    # -- Sink, called from the loop's thread --------------------------------------------------------------------

    def outputs(self, items: list[tuple[str, TokenChunk]]) -> None:
        """Hand a step's chunks to the event loop in one call."""
        self._events.call_soon_threadsafe(self._deliver, items)

    def _deliver(self, items: list[tuple[str, TokenChunk]]) -> None:
        for request_id, chunk in items:
            self._streams.put(request_id, chunk)

    def failure(self, request_id: str, error: ChatwrightError) -> None:
        """One request ended badly."""
        self._events.call_soon_threadsafe(self._streams.put, request_id, error)

    def died(self, error: Exception) -> None:
        """The loop is gone: so is everything in it."""
        self._failure = EngineFailed(f"The engine stopped: {error}")
        self._events.call_soon_threadsafe(self._streams.fail_all, self._failure)
