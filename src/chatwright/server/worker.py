"""One of several API processes: `python -m chatwright.server.worker`, started by `chatwright serve --workers N`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import msgspec
import uvloop

from chatwright.config import Source
from chatwright.server.app import Server, assemble
from chatwright.server.assembly import SharedEngines
from chatwright.server.http_server import HttpServer
from chatwright.server.reloading import ParentReloading, Reloading
from chatwright.telemetry.logs import set_up_logs

READY = b"ready\n"
"""Written to stdout once every model is attached or has failed."""


class Assignment(msgspec.Struct, frozen=True):
    """What a worker is told when it is born. `listener` is the descriptor of the socket that all of them accept on,
    `folder` where engines listen.
    """

    source: str
    listener: int
    folder: str


async def _serve(server: Server, http: HttpServer, listener: socket.socket) -> None:
    announcing = asyncio.create_task(_announce(server))
    try:
        await http.serve(sockets=[listener])
    finally:
        announcing.cancel()


async def _announce(server: Server) -> None:
    await server.loaded.wait()
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()


def _end_with_parent() -> None:
    """stdin is a pipe that only the parent holds open."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Read the assignment from stdin, serve until SIGTERM."""
    assignment = msgspec.json.decode(sys.stdin.buffer.readline(), type=Assignment)
    source = Source.model_validate_json(assignment.source)
    settings = source.read()
    set_up_logs(settings.log_level, settings.log_format)
    server = assemble(settings, shared=SharedEngines(Path(assignment.folder), starts=False))
    reloading = Reloading(server, source.read)
    server.reloading = ParentReloading(server, source.read)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        http = HttpServer(server, reloading)
        runner.run(_serve(server, http, socket.socket(fileno=assignment.listener)))


if __name__ == "__main__":
    main()
