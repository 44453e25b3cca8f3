"""One engine process: born, connected, ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys

import msgspec

from chatwright.core.errors import EngineFailed
from chatwright.engines.process import frames
from chatwright.engines.process.options import EngineOptions

LAST_WORDS_SECONDS = 1.0


class Child:
    """Lives from `start` to `end`; `end` must be called whatever happened in between.

    The connection is one end of a socket pair, so there is no path to leave behind. The process also ends by
    itself once our end of its standard input closes, as it does when we die.
    """

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    @property
    def pid(self) -> int | None:
        """Its process id, while it lives."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and alive else None

    async def start(self) -> frames.Hello:
        """Returns once it is loaded and warm. Raises EngineFailed with its reason, OSError where it can't be born."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._reader, self.writer = await asyncio.open_unix_connection(sock=ours)
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "chatwright.engines.process",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(), *self._listener()),
                start_new_session=True,  # Ctrl-C is for us
            )
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(self._options) + b"\n")
        message = await self.receive()
        match message:
            case frames.Hello():
                return message
            case frames.LoadFailed(reason):
                raise EngineFailed(reason)
            case None:
                raise EngineFailed(f"it died while loading, {await self.last_words()}")
        raise EngineFailed("it broke the protocol")

    def _listener(self) -> tuple[int, ...]:
        listener = self._options.listen_tcp
        return () if listener is None else (listener.descriptor,)

    def send(self, message: frames.ToEngine) -> None:
        """Queue a message; lost where the process has gone, which `receive` will tell."""
        if self.writer is not None and not self.writer.is_closing():
            self.writer.write(frames.encode(message))

    async def receive(self) -> frames.FromEngine | None:
        """Its next message; None once it has hung up. Raises msgspec.DecodeError for anything else."""
        assert self._reader is not None
        return await frames.read_from_engine(self._reader)

    async def last_words(self) -> str:
        """How it ended, after it hung up."""
        assert self._process is not None
        try:
            return f"exit status {await asyncio.wait_for(self._process.wait(), LAST_WORDS_SECONDS)}"
        except TimeoutError:
            return "it hung up"

    async def end(self) -> None:
        """Kill it if it lives, and leave nothing open. It keeps nothing that a gentler end would save."""
        if self.writer is not None:
            self.writer.transport.abort()  # not close: it would wait for a child that doesn't read
            with contextlib.suppress(OSError):
                await self.writer.wait_closed()
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
