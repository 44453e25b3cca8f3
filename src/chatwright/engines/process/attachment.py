"""A connection to an engine process that somebody else has started and starts again."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from chatwright.core.errors import EngineFailed
from chatwright.engines.process import frames
from chatwright.engines.process.tcp import TcpAddress, connect

RETRY_SECONDS = 0.1
RETRY_TCP_SECONDS = 0.5


class Attachment:
    """Lives from `start` to `end`, like a child. The process listens on a Unix socket at this path, or on TCP."""

    def __init__(self, where: Path | TcpAddress) -> None:
        self._where = where
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def pid(self) -> int | None:
        """Not ours."""
        return None

    async def start(self) -> frames.Hello:
        """Wait for the process to listen, then for it to be loaded and warm. Raises EngineFailed with its reason."""
        while self._reader is None:
            try:
                self._reader, self._writer = await self._connect()
            except OSError:  # not there yet, or between two lives
                await asyncio.sleep(RETRY_SECONDS if isinstance(self._where, Path) else RETRY_TCP_SECONDS)
        message = await self.receive()
        match message:
            case frames.Hello():
                return message
            case frames.LoadFailed(reason):
                raise EngineFailed(reason)
            case None:
                raise EngineFailed("it died while loading")
        raise EngineFailed("it broke the protocol")

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._where, Path):
            return await asyncio.open_unix_connection(self._where)
        return await connect(self._where)

    def send(self, message: frames.ToEngine) -> None:
        """Queue a message; lost where the process has gone, which `receive` will tell."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(frames.encode(message))

    async def receive(self) -> frames.FromEngine | None:
        """Its next message; None once it has hung up."""
        assert self._reader is not None
        return await frames.read_from_engine(self._reader)

    async def last_words(self) -> str:
        """Its parent knows more."""
        return "it hung up"

    async def end(self) -> None:
        """Hang up; our requests end with the connection."""
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
