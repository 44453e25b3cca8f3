"""A server of another engine that a replica starts on its node, and that ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence

import msgspec

from chatwright.cluster.directory import ServerAddress
from chatwright.core.engine import Engine, EngineInfo, EngineStats
from chatwright.core.errors import EngineFailed
from chatwright.core.generation import GenerationRequest, TokenChunk
from chatwright.engines.process.tcp import listen

PATIENCE_SECONDS = 7200.0
"""A large model's weights may take long to read; a server that ends is noticed at once."""
END_SECONDS = 15.0


def new_address(host: str, command: Sequence[str]) -> tuple[ServerAddress, list[str]]:
    """A free port of this host, a key if the command takes one, and the command with them filled in."""
    with listen(host) as free:
        port = free.getsockname()[1]
    key = secrets.token_urlsafe(24) if any("{key}" in word for word in command) else None
    values = {"{host}": host, "{port}": str(port), "{key}": key or ""}
    named = f"[{host}]" if ":" in host else host
    return ServerAddress(f"http://{named}:{port}", key), [_filled(word, values) for word in command]


def _filled(word: str, values: Mapping[str, str]) -> str:
    """Other braces stay: arguments may be JSON."""
    for name, value in values.items():
        word = word.replace(name, value)
    return word


class StartedServer:
    """An `Engine`: `command` is run until it is closed, `engine` speaks to what it starts."""

    def __init__(self, command: Sequence[str], engine: Engine) -> None:
        self._command = list(command)
        self._engine = engine
        self._process: asyncio.subprocess.Process | None = None

    @property
    def info(self) -> EngineInfo:
        """The server's."""
        return self._engine.info

    @property
    def ready(self) -> bool:
        """Whether it runs and answers."""
        return self._process is not None and self._process.returncode is None and self._engine.ready

    @property
    def active(self) -> int:
        """Requests of this process, which sends none: API processes do."""
        return self._engine.active

    async def start(self) -> None:
        """Returns once the server has been greeted. Raises EngineFailed where it ends before, or isn't what we need."""
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "chatwright.cluster.keeper", *self._command),
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        starting = asyncio.create_task(self._engine.start())
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait((starting, ended), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                raise EngineFailed(
                    f"{self._command[0]} ended with status {process.returncode} before it served; see this replica's log."
                )
            await starting
        except BaseException:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await self.close()
            raise
        finally:
            ended.cancel()

    async def close(self) -> None:
        """Hang up, then end the server."""
        await self._engine.close()
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), END_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def generate(self, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
        """See `Engine.generate`."""
        return self._engine.generate(request)

    async def stats(self) -> EngineStats:
        """The server's load, whoever sends it requests. One that doesn't tell is never taken for idle."""
        told = await self._engine.stats()
        return told if told.kv_blocks_total else msgspec.structs.replace(told, running=max(1, told.running))
