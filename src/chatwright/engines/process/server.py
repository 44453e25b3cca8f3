"""The engine process: reads its options from stdin, serves one loop on connected sockets, dies with its parent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np

from chatwright.core.errors import ChatwrightError, EngineFailed
from chatwright.core.generation import TokenChunk
from chatwright.engines.batching.constraint import Constraints
from chatwright.engines.batching.engine import engine_info
from chatwright.engines.batching.handoff import KvSpool
from chatwright.engines.batching.loop import EngineLoop
from chatwright.engines.batching.selfcheck import SelfCheck, self_check, warm_up
from chatwright.engines.process import frames
from chatwright.engines.process.build import build_runner
from chatwright.engines.process.options import EngineOptions
from chatwright.engines.process.tcp import TcpListener, admit
from chatwright.grammar.matcher import Vocabulary
from chatwright.workers.heap import settle


class EngineServer:
    """One loop, any number of connected API processes. A request belongs to the connection that sent it."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._owners: dict[str, asyncio.StreamWriter] = {}
        self._heard: dict[asyncio.StreamWriter, int] = {}
        self._greeting: frames.Hello | frames.LoadFailed | None = None
        self._loaded = asyncio.Event()
        self._loop: EngineLoop | None = None
        self._events = asyncio.get_running_loop()

    async def load(self) -> None:
        """Build, warm and check the runner, then start stepping. Raises EngineFailed after telling whoever
        is connected.
        """
        try:
            loop, checked = await asyncio.to_thread(self._prepare)
        except Exception as error:
            reason = (
                error.message if isinstance(error, ChatwrightError) else f"{type(error).__name__}: {error}"
            )
            self._greeting = frames.LoadFailed(reason)
            raise EngineFailed(reason) from error
        else:
            loop.start()
            self._loop = loop
            self._greeting = frames.Hello(engine_info(loop.runner.info, checked), checked.warnings)
        finally:
            self._loaded.set()

    def _prepare(self) -> tuple[EngineLoop, SelfCheck]:
        options = self._options
        runner = build_runner(options)
        warm_up(runner)
        checked = self_check(runner) if runner.info.reproducible else SelfCheck()
        ends = None
        if options.sentence_ends:
            packed = np.frombuffer(options.sentence_ends, np.uint8)
            ends = np.unpackbits(packed, count=runner.info.vocab_size).astype(np.bool_)
        folder = options.handoff_folder
        spool = KvSpool(Path(folder), runner.info.fingerprint) if folder else None
        loop = EngineLoop(
            runner,
            options.limits,
            self,
            sentence_ends=ends,
            spool=spool,
            constraints=_constraints(options, runner.info.vocab_size),
        )
        return loop, checked

    async def serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to one API process until it goes away; its requests end with it. One that breaks the protocol is cut
        off, the others don't notice.
        """
        try:
            await self._loaded.wait()
            assert self._greeting is not None
            writer.write(frames.encode(self._greeting))
            while self._loop is not None and (message := await frames.read_to_engine(reader)) is not None:
                self._handle(message, writer, self._loop)
        except Exception as error:
            _complain(error)
        finally:
            self._heard.pop(writer, None)
            for request_id in [key for key, owner in self._owners.items() if owner is writer]:
                self._abort(request_id)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def stop(self) -> None:
        """Stop stepping."""
        if self._loop is not None:
            await asyncio.to_thread(self._loop.stop)

    def _handle(self, message: frames.ToEngine, writer: asyncio.StreamWriter, loop: EngineLoop) -> None:
        match message:
            case frames.Submit(request):
                heard = self._heard[writer] = self._heard.get(writer, 0) + 1
                try:
                    loop.submit(request)
                    self._owners[request.id] = writer
                except ChatwrightError as error:
                    writer.write(frames.encode(frames.failure(request.id, error, loop.room, heard)))
            case frames.Abort(request_id):
                if self._owners.get(request_id) is writer:
                    self._abort(request_id)
            case frames.AskStats():
                writer.write(frames.encode(frames.StatsReply(loop.stats())))

    def _abort(self, request_id: str) -> None:
        if self._owners.pop(request_id, None) is not None and self._loop is not None:
            self._loop.abort(request_id)

    # -- Sink, called from the loop's thread --------------------------------------------------------------------

    def outputs(self, items: list[tuple[str, TokenChunk]]) -> None:
        """Send a step's chunks: one frame for each connected API process."""
        self._events.call_soon_threadsafe(self._send_outputs, items)

    def _send_outputs(self, items: list[tuple[str, TokenChunk]]) -> None:
        by_writer: dict[asyncio.StreamWriter, list[tuple[str, TokenChunk]]] = {}
        for request_id, chunk in items:
            owner = self._owners.get(request_id)
            if owner is None:
                continue
            by_writer.setdefault(owner, []).append((request_id, chunk))
            if chunk.finish is not None:
                del self._owners[request_id]
        assert self._loop is not None
        room = self._loop.room
        for writer, mine in by_writer.items():
            writer.write(frames.encode(frames.Outputs(mine, room, self._heard.get(writer, 0))))

    def failure(self, request_id: str, error: ChatwrightError) -> None:
        """Tell a request's owner."""
        self._events.call_soon_threadsafe(self._send_failure, request_id, error)

    def _send_failure(self, request_id: str, error: ChatwrightError) -> None:
        owner = self._owners.pop(request_id, None)
        if owner is not None:
            owner.write(frames.encode(frames.failure(request_id, error)))

    def died(self, error: Exception) -> None:
        """A broken loop can't be trusted with its state: leave, and let the supervisor start afresh."""
        _complain(error)
        os._exit(70)


def _complain(error: Exception) -> None:
    print(f"chatwright engine: {type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201


def _constraints(options: EngineOptions, vocab_size: int) -> Constraints | None:
    """Grammars over the model's tokenizer, which is read when the first one comes."""
    if options.tokenizer_path is None:
        return None
    path = Path(options.tokenizer_path)
    return Constraints(
        lambda: Vocabulary(path.read_text(encoding="utf-8"), vocab_size, options.eos_token_ids)
    )


def _die_with_parent() -> None:
    """stdin is a pipe that only the parent holds open."""
    while os.read(0, 4096):  # not sys.stdin, whose lock a thread that waits would hold at exit
        pass
    os._exit(0)


async def serve(sockets: list[socket.socket], options: EngineOptions) -> None:
    """Load, then serve these connections until the last one has gone. Raises EngineFailed where loading fails, once
    all have been told.
    """
    server = EngineServer(options)
    connections = [
        asyncio.create_task(server.serve_connection(*await asyncio.open_unix_connection(sock=one)))
        for one in sockets
    ]
    async with _listening(server, options.listen_path), _listening_tcp(server, options.listen_tcp):
        try:
            await server.load()
            settle()
        finally:
            await asyncio.gather(*connections)
            await server.stop()


@contextlib.asynccontextmanager
async def _listening(server: EngineServer, path: str | None) -> AsyncIterator[None]:
    """Take connections of other processes meanwhile; whoever may open the folder may connect."""
    if path is None:
        yield
        return
    listener = await asyncio.start_unix_server(server.serve_connection, path)
    try:
        yield
    finally:
        listener.close()


@contextlib.asynccontextmanager
async def _listening_tcp(server: EngineServer, listener: TcpListener | None) -> AsyncIterator[None]:
    """Take connections from other machines meanwhile; whoever knows the secret may connect."""
    if listener is None:
        yield
        return

    async def serve_admitted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await admit(reader, writer, listener.secret):
            await server.serve_connection(reader, writer)
        else:
            writer.close()

    wire = await asyncio.start_server(serve_admitted, sock=socket.socket(fileno=listener.descriptor))
    try:
        yield
    finally:
        wire.close()


def main() -> None:
    """`python -m chatwright.engines.process FD...`: connected sockets, and the options as one line of JSON on stdin."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(
            number, signal.SIG_IGN
        )  # a service manager signals the whole group; streams are drained first
    options = msgspec.json.decode(sys.stdin.buffer.readline(), type=EngineOptions)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        asyncio.run(serve([socket.socket(fileno=int(text)) for text in sys.argv[1:]], options))
    except EngineFailed as error:
        sys.exit(f"chatwright engine: {error.message}")
