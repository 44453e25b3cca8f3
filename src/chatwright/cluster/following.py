"""The API's end: a model's engine whose members are whoever the directory names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from itertools import count

from chatwright.cluster.directory import Place, Reading
from chatwright.cluster.plan import pool_key
from chatwright.core.engine import Engine, EngineInfo, EngineStats
from chatwright.core.errors import EngineFailed, Overloaded
from chatwright.core.generation import GenerationRequest, TokenChunk
from chatwright.engines.process.client import ProcessEngine
from chatwright.engines.process.tcp import TcpAddress
from chatwright.engines.replicas.pools import PooledEngine
from chatwright.engines.replicas.replica_set import ReplicaSet

log = logging.getLogger("chatwright.cluster")

WATCH_SECONDS = 20.0
RETRY_SECONDS = 1.0
JOIN_SECONDS = (1.0, 2.0, 5.0, 15.0, 30.0)
"""Pauses between attempts to attach to a replica: its engine may be starting again just now."""
SILENCE_SECONDS = 6.0
"""Silence after which a replica counts as gone, though its node's kernel has not said so."""

Watch = Callable[[int, float], Awaitable[Reading]]
"""`Directory.watch` of this cluster."""


Attach = Callable[[Place], Engine]
"""Makes a replica's engine at our end, not started."""


def attach_to_process(place: Place) -> Engine:
    """A replica of ours."""
    assert isinstance(place.address, TcpAddress)
    return ProcessEngine(None, attach_to=place.address, silence_seconds=SILENCE_SECONDS)


class MemberNodes(dict[str, str]):
    """The node of each member there has been; contexts stay on a node when a member leaves it."""

    def of(self, member: str) -> str:
        """Raises KeyError where there was no such member."""
        return self[member]

    def all(self) -> frozenset[str]:
        """Every node that there has been a member on."""
        return frozenset(self.values())


class FollowingEngine:
    """An `Engine` over the replicas of the model called `key`, wherever they are; `start` returns once there is one."""

    def __init__(
        self,
        key: str,
        watch: Watch,
        replicas: ReplicaSet | None = None,
        nodes: MemberNodes | None = None,
        attach: Attach = attach_to_process,
    ) -> None:
        """`nodes` is told where each member is."""
        self._key = key
        self._attach = attach
        self._nodes = MemberNodes() if nodes is None else nodes
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

    def overload(self, waiting_share: float, coming: int) -> Overloaded | None:
        """See `TellsLoad`."""
        return self._replicas.overload(waiting_share, coming)

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

    def _apply(self, named: Mapping[str, Place]) -> None:
        """Take in who is new, let go who is no longer named. A replica at another address is another one."""
        wanted = {f"{name}@{place.at}": place for name, place in named.items()}
        for member in self._joining.keys() - wanted.keys():
            task = asyncio.create_task(self._leave(member, self._joining.pop(member)))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        for member in wanted.keys() - self._joining.keys():
            self._joining[member] = asyncio.create_task(self._join(member, wanted[member]))

    async def _join(self, member: str, place: Place) -> None:
        """Attach. A replica that can't be reached, or can't stand for the others, is left out, said so, and tried again."""
        self._nodes[member] = place.node
        for attempt in count():
            try:
                await self._replicas.add(member, self._attach(place))
                break
            except EngineFailed as error:
                log.error("replica %s is not used: %s", member, error.message)
            await asyncio.sleep(JOIN_SECONDS[min(attempt, len(JOIN_SECONDS) - 1)])
        log.info("replica %s serves", member)
        self._any.set()

    async def _leave(self, member: str, joining: asyncio.Task[None]) -> None:
        """Its requests end first."""
        joining.cancel()
        await asyncio.gather(joining, return_exceptions=True)
        if member in self._replicas.members:
            log.info("replica %s leaves", member)
            await self._replicas.remove(member)


class FollowingPools:
    """An `Engine` whose requests are prefilled by some replicas and decoded by others, wherever they are."""

    def __init__(self, key: str, watch: Watch, pools: PooledEngine, nodes: MemberNodes) -> None:
        """`pools` has no members yet; the replicas of both keys (`pool_key`) join it."""
        self._pools = pools
        self._halves = (
            FollowingEngine(pool_key(key, "prefill"), watch, pools.prefill, nodes),
            FollowingEngine(pool_key(key, "decode"), watch, pools.decode, nodes),
        )

    @property
    def info(self) -> EngineInfo:
        """Of both pools."""
        return self._pools.info

    @property
    def ready(self) -> bool:
        """Whether both halves can be served."""
        return self._pools.ready

    @property
    def active(self) -> int:
        """Requests of this process, in whichever half."""
        return self._pools.active

    async def start(self) -> None:
        """Wait for the first replica of each pool. Raises EngineFailed where one can't read what the other computes."""
        try:
            await asyncio.gather(*(half.start() for half in self._halves))
            if len({half.info.fingerprint for half in self._halves}) > 1:
                raise EngineFailed("The replicas of the two pools are of different builds.")
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Hang up on all of them."""
        await asyncio.gather(*(half.close() for half in self._halves))

    def generate(self, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
        """See `Engine.generate`."""
        return self._pools.generate(request)

    def overload(self, waiting_share: float, coming: int) -> Overloaded | None:
        """See `TellsLoad`."""
        return self._pools.overload(waiting_share, coming)

    async def stats(self) -> EngineStats:
        """The sum of all replicas'."""
        return await self._pools.stats()
