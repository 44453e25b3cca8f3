"""Several engines within one memory budget: loaded when a request comes, the least recently used unloaded when idle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

from chatwright.core.engine import Engine, EngineInfo, EngineStats, TellsLoad
from chatwright.core.errors import DeadlineExceeded, EngineFailed, Overloaded
from chatwright.core.generation import GenerationRequest, TokenChunk
from chatwright.engines.batching.backlog import Backlog


class Residency:
    """Who is in memory. `budget` is in bytes; an engine larger than it can never be loaded."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._loaded: list[OnDemandEngine] = []  # least recently used first
        self._loading = asyncio.Lock()

    async def acquire(self, engine: OnDemandEngine) -> None:
        """Load the engine if need be and keep it until `release`. One load at a time; loaded engines don't wait for it."""
        if engine not in self._loaded:
            async with self._loading:
                if engine not in self._loaded:
                    await self._make_room(engine.size)
                    await engine.load()
                    self._loaded.append(engine)
        self._loaded.remove(engine)
        self._loaded.append(engine)
        engine.active += 1
        engine.idle.clear()

    async def _make_room(self, size: int) -> None:
        """Unload idle engines; where none is, the least recently used takes no new requests and goes after its last stream."""
        while sum(other.size for other in self._loaded) + size > self.budget:
            victim = next((other for other in self._loaded if other.idle.is_set()), self._loaded[0])
            self._loaded.remove(victim)
            try:
                await victim.idle.wait()
            except asyncio.CancelledError:
                self._loaded.insert(0, victim)
                raise
            await victim.unload()

    def forget(self, engine: OnDemandEngine) -> None:
        """It takes no room any more, however it came to be unloaded."""
        if engine in self._loaded:
            self._loaded.remove(engine)

    def release(self, engine: OnDemandEngine) -> None:
        """A request of this engine has ended."""
        engine.active -= 1
        if engine.active == 0:
            engine.idle.set()


class OnDemandEngine:
    """An engine that is in memory only while it is used, or while nothing else needs the room.

    `size` is in bytes, `expected` what is known of it before its first load; `max_waiting` requests and
    `max_waiting_tokens` of their prompts may wait for a load. Raises EngineFailed where it can never fit.
    """

    def __init__(
        self,
        engine: Engine,
        size: int,
        residency: Residency,
        expected: EngineInfo,
        *,
        max_waiting: int = 256,
        max_waiting_tokens: int = 1_000_000,
    ) -> None:
        self._engine = engine
        self._residency = residency
        self._info = expected
        self._waiting = Backlog(max_waiting, max_waiting_tokens)
        self.size = size
        self.active = 0
        self.idle = asyncio.Event()
        self.idle.set()
        if size > residency.budget:
            raise EngineFailed(
                f"A model needs {size} bytes; the memory budget for all models is {residency.budget}."
            )

    @property
    def info(self) -> EngineInfo:
        """As of the last load; before the first one as expected."""
        return self._info

    @property
    def ready(self) -> bool:
        """Always: a request would be served, if after a load."""
        return True

    async def start(self) -> None:
        """Nothing: the first request loads it."""

    async def close(self) -> None:
        """Unload for good."""
        self._residency.forget(self)
        await self._engine.close()

    async def load(self) -> None:
        """For Residency."""
        await self._engine.start()
        self._info = self._engine.info

    async def unload(self) -> None:
        """For Residency."""
        await self._engine.close()

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
        """See `Engine.generate`; waits for the load first. Raises Overloaded at once where too many do already."""
        self._waiting.enter(request)
        try:
            await self._acquire(request.deadline)
        finally:
            self._waiting.leave(request, started=False)
        try:
            chunks = self._engine.generate(request)
            try:
                async for chunk in chunks:
                    yield chunk
            finally:
                await chunks.aclose()
        finally:
            self._residency.release(self)

    async def _acquire(self, deadline: float | None) -> None:
        try:
            async with asyncio.timeout(None if deadline is None else max(0.0, deadline - time.time())):
                await self._residency.acquire(self)
        except TimeoutError:
            raise DeadlineExceeded(
                "The request's deadline passed while its model waited to be loaded."
            ) from None

    def overload(self, waiting_share: float, coming: int) -> Overloaded | None:
        """See `TellsLoad`; nothing is known while it is not loaded."""
        engine = self._engine
        return (
            engine.overload(waiting_share, coming) if engine.ready and isinstance(engine, TellsLoad) else None
        )

    async def stats(self) -> EngineStats:
        """Of the engine; while it is not loaded only what waits for it."""
        if self._engine.ready:
            return await self._engine.stats()
        return EngineStats(waiting=self._waiting.requests, waiting_tokens=self._waiting.tokens)
