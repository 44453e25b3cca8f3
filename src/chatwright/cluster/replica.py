"""One replica of a model: its engine process, its entry in the directory, its end without a cut stream."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from chatwright.cluster.directory import LEASE_SECONDS, Place
from chatwright.cluster.started import PATIENCE_SECONDS, StartedServer, new_address
from chatwright.core.engine import Engine, EngineStats
from chatwright.engines.process.client import ProcessEngine
from chatwright.engines.process.options import EngineOptions
from chatwright.engines.process.tcp import TcpAddress, TcpListener, listen, new_secret
from chatwright.model_config import ModelSettings
from chatwright.server.fleet import until_idle
from chatwright.server.remote import StartedServers

log = logging.getLogger("chatwright.cluster")

Write = Callable[[Place], Awaitable[None]]
"""Puts this replica into the directory, or renews its lease."""
Strike = Callable[[], Awaitable[None]]
"""Takes it out."""


class ListeningEngines:
    """An `EngineSource`: engines that listen on this host's TCP, each with a secret of its own. We close their sockets.
    `made` says where each is, with its socket if that is ours.
    """

    folder = None

    def __init__(self, host: str, node: str, overrides: dict[str, object]) -> None:
        """`overrides` are fields of EngineOptions, for measurements with simulated engines. Contexts are kept apart by
        node, also where several share a disk.
        """
        self._host = host
        self._node = node
        self._overrides = overrides
        self.made: list[tuple[socket.socket | None, Place]] = []
        self.context_folder: str | None = None

    def engine(self, options: EngineOptions, one: ModelSettings) -> Engine:
        """See `EngineSource.engine`."""
        listener = listen(self._host)
        address = TcpAddress(self._host, listener.getsockname()[1], new_secret())
        self.made.append((listener, Place(address, self._node)))
        if options.handoff_folder is not None:
            self.context_folder = str(Path(options.handoff_folder) / self._node)
        changes = {
            "listen_tcp": TcpListener(listener.fileno(), address.secret),
            "handoff_folder": self.context_folder,
        }
        return ProcessEngine(msgspec.structs.replace(options, **changes | self._overrides))

    def started(self, servers: StartedServers, one: ModelSettings) -> Engine:
        """See `EngineSource.started`."""
        address, command = new_address(self._host, one.ray.command)
        self.made.append((None, Place(address, self._node)))
        return StartedServer(command, servers.engine(address.url, address.key, PATIENCE_SECONDS))


class Replica:
    """Lives from `start` to `drain`."""

    def __init__(
        self, engine: Engine, listener: socket.socket | None, place: Place, write: Write, strike: Strike
    ) -> None:
        self._engine = engine
        self._listener = listener
        self._place = place
        self._write = write
        self._strike = strike
        self._renewing: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether its engine is."""
        return self._engine.ready

    async def start(self) -> None:
        """Load and warm the engine, then be found. Raises EngineFailed where it can't be loaded."""
        await self._engine.start()
        await self._write(self._place)
        self._renewing = asyncio.create_task(self._renew())

    async def stats(self) -> EngineStats:
        """The engine's."""
        return await self._engine.stats()

    async def drain(self, seconds: float) -> None:
        """Be found no more, let running answers end for so long, then end the engine: what still runs hears an error."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        try:
            await self._strike()
        except Exception as error:
            log.warning("the directory can't be told: %s", type(error).__name__)  # the lease will end
        try:
            if self._engine.ready:
                await asyncio.wait_for(until_idle(self._engine), seconds)
        except TimeoutError:
            log.warning("answers are ended: the replica shuts down")
        finally:
            await self._engine.close()
            if self._listener is not None:
                self._listener.close()

    async def _renew(self) -> None:
        """Keep the lease, until cancelled. A replica whose engine is being started again stays: its members wait."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / 4)
            try:
                await self._write(self._place)
            except Exception as error:
                log.warning("the directory can't be told: %s", type(error).__name__)
