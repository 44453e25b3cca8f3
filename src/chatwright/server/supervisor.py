"""The parent of several API processes: owns the port and the engines, keeps the workers alive, passes signals on."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from chatwright.config import ConfigError, Settings, Source
from chatwright.core.errors import ChatwrightError
from chatwright.model_config import ModelSettings
from chatwright.models.errors import ModelError
from chatwright.models.progress import Progress, Silent
from chatwright.server.assembly import SharedEngines, served_model
from chatwright.server.fleet import Fleet
from chatwright.server.worker import READY, Assignment
from chatwright.service.model import ServedModel

log = logging.getLogger("chatwright")

BACKOFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0)
PATIENCE_SECONDS = 10.0
"""How much longer than `shutdown_seconds` a worker may take to end."""


class Supervisor:
    """Make it, then `run` it once."""

    def __init__(
        self, source: Source, settings: Settings, listener: socket.socket, progress: Progress
    ) -> None:
        """Installs the models. Raises what `served_model` raises."""
        self.settings = settings
        self._source = source
        self._listener = listener
        self._folder = Path(tempfile.mkdtemp(prefix="chatwright-"))  # only we may look into it
        self._shared = SharedEngines(self._folder, starts=True)
        self.fleet = Fleet(settings.models, lambda one: self._make(settings, one, progress))
        self.ready = asyncio.Event()
        self._ending = asyncio.Event()
        self._workers: dict[int, asyncio.subprocess.Process] = {}
        self._waiting_for = set(range(settings.workers))
        self._reloads: set[asyncio.Task[None]] = set()

    def _make(self, settings: Settings, one: ModelSettings, progress: Progress) -> ServedModel:
        """Only its engine is used here: grammars are compiled by the workers."""
        made = served_model(one, settings, None, progress, shared=self._shared)
        return dataclasses.replace(made, grammars=None)

    def end(self) -> None:
        """As SIGTERM does."""
        self._ending.set()

    async def run(self) -> None:
        """Serve until SIGINT or SIGTERM."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.end)
        loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
        try:
            async with self._running():
                await self._ending.wait()
        finally:
            await self.fleet.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        starting = asyncio.create_task(self.fleet.start())
        keeping = [asyncio.create_task(self._keep(number)) for number in range(self.settings.workers)]
        try:
            yield
        finally:
            await self._end_workers()
            for task in (starting, *keeping):
                task.cancel()
            await asyncio.gather(starting, *keeping, return_exceptions=True)

    async def _keep(self, number: int) -> None:
        """One worker after the other."""
        failures = 0
        while not self._ending.is_set():
            await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
            worker = self._workers[number] = await self._spawn()
            assert worker.stdout is not None
            was_ready = await worker.stdout.readline() == READY
            if was_ready:
                self._count_ready(number)
            status = await worker.wait()
            failures = 1 if was_ready else failures + 1
            if not self._ending.is_set():
                log.error("an API process ended with status %s; starting it again", status)

    def _count_ready(self, number: int) -> None:
        self._waiting_for.discard(number)
        if not self._waiting_for:
            self.ready.set()

    async def _spawn(self) -> asyncio.subprocess.Process:
        descriptor = self._listener.fileno()
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "chatwright.server.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(descriptor,),
            start_new_session=True,  # Ctrl-C is for us; a worker hears of it from us, once
        )
        assert worker.stdin is not None
        source = self._source.model_dump_json()
        worker.stdin.write(msgspec.json.encode(Assignment(source, descriptor, str(self._folder))) + b"\n")
        return worker

    def _signal_workers(self, number: signal.Signals) -> None:
        for worker in self._workers.values():
            if worker.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    worker.send_signal(number)

    async def _end_workers(self) -> None:
        """Let them drain; kill those that don't end."""
        self._signal_workers(signal.SIGTERM)
        patience = self.settings.shutdown_seconds + PATIENCE_SECONDS
        waits = [asyncio.create_task(worker.wait()) for worker in self._workers.values()]
        if waits:
            _, late = await asyncio.wait(waits, timeout=patience)
            if late:
                self._signal_workers(signal.SIGKILL)
                await asyncio.wait(late)

    def _reload_soon(self) -> None:
        task = asyncio.create_task(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        """Load new models first, then have the workers read the configuration too."""
        try:
            settings = await asyncio.to_thread(self._source.read)
            if settings.models != self.settings.models:
                await self.fleet.replace(settings.models, lambda one: self._make(settings, one, Silent()))
        except (ConfigError, ModelError, ChatwrightError, ValueError, OSError) as error:
            reason = getattr(error, "message", None) or str(error)
            log.error("the configuration was not reloaded, the old one stays: %s", reason)
            return
        live = {"models": settings.models, "shutdown_seconds": settings.shutdown_seconds}
        self.settings = self.settings.model_copy(update=live)
        self._signal_workers(signal.SIGHUP)
