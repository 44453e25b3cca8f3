"""The API's end: a model's engine whose members are whoever the directory names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

from chatwright.cluster.directory import Reading
from chatwright.core.engine import EngineInfo, EngineStats
from chatwright.core.errors import EngineFailed
from chatwright.core.generation import GenerationRequest, TokenChunk
from chatwright.engines.process.client import ProcessEngine
from chatwright.engines.process.tcp import TcpAddress
from chatwright.engines.replicas.replica_set import ReplicaSet

log = logging.getLogger("chatwright.cluster")

WATCH_SECONDS = 20.0
RETRY_SECONDS = 1.0
SILENCE_SECONDS = 6.0
"""Silence after which a replica counts as gone, though its node's kernel has not said so."""

Watch = Callable[[int, float], Awaitable[Reading]]
"""`Directory.watch` of this cluster."""


class FollowingEngine:
    """An `Engine` over the replicas of the model called `key`, wherever they are; `start` returns once there is one."""

    def __init__(self, key: str, watch: Watch, replicas: ReplicaSet | None = None) -> None:
        self._key = key
        self._watch = watch
        self._replicas = replicas or ReplicaSet()
        self._following: asyncio.Task[None] | None = None
        self._joining: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._any = asyncio.Event()

    @property
    def info(self) -> EngineInfo:
        """What the replicas agree on."""
        return self._replicas.info

    @property
    def ready(self) -> bool:
        """Whether any replica is."""
        return self._replicas.ready

    @property
    def active(self) -> int:
        """Requests of this process, wherever they are."""
        return self._replicas.active

    @property
    def members(self) -> frozenset[str]:
        """Names of the replicas that may be chosen."""
        return frozenset(self._replicas.members)

    async def start(self) -> None:
        """Follow the directory, and wait for the first replica."""
        await self._replicas.start()
        self._following = asyncio.create_task(self._follow())
        try:
            await self._any.wait()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Hang up on all of them; what still runs fails."""
        tasks = [*self._joining.values(), *self._leaving]
        if self._following is not None:
            tasks.append(self._following)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._replicas.close()

    def generate(self, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
        """See `Engine.generate`."""
        return self._replicas.generate(request)

    async def stats(self) -> EngineStats:
        """The sum of all replicas'."""
        return await self._replicas.stats()

    # -- who belongs to it --------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Until cancelled. While nobody keeps the directory, members stay as they are."""
        version = 0
        while True:
            try:
                reading = await self._watch(version, WATCH_SECONDS)
            except Exception as error:
                log.warning("the directory can't be read: %s", type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                version = reading.version
                self._apply(reading.members.get(self._key, {}))

    def _apply(self, named: Mapping[str, TcpAddress]) -> None:
        """Take in who is new, let go who is no longer named. A replica at another address is another one."""
        wanted = {f"{name}@{at.host}:{at.port}": at for name, at in named.items()}
        for member in self._joining.keys() - wanted.keys():
            task = asyncio.create_task(self._leave(member, self._joining.pop(member)))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        for member in wanted.keys() - self._joining.keys():
            self._joining[member] = asyncio.create_task(self._join(member, wanted[member]))

    async def _join(self, member: str, address: TcpAddress) -> None:
        """Attach; a replica that can't stand for the others is left out, and said so."""
        engine = ProcessEngine(None, attach_to=address, silence_seconds=SILENCE_SECONDS)
        try:
            await self._replicas.add(member, engine)
        except EngineFailed as error:
            log.error("replica %s is not used: %s", member, error.message)
        else:
            log.info("replica %s serves", member)
            self._any.set()

    async def _leave(self, member: str, joining: asyncio.Task[None]) -> None:
        """Its requests end first."""
        joining.cancel()
        await asyncio.gather(joining, return_exceptions=True)
        if member in self._replicas.members:
            log.info("replica %s leaves", member)
            await self._replicas.remove(member)
