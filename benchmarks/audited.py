"""`chatwright serve` that also tells its engine's stats: python -m benchmarks.audited HOME PORT SOCKET.

Whoever connects to the Unix socket reads one JSON object (`EngineStats`) and the end. Everything else is as served.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
import uvicorn
import uvloop

from chatwright.config import load
from chatwright.server.app import Server, assemble


async def serve(server: Server, port: int, path: Path) -> None:
    """Until a signal."""
    (model,) = server.catalog.served()

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(msgspec.json.encode(await model.engine.stats()))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    config = uvicorn.Config(server.asgi, port=port, log_config=None, access_log=False, server_header=False)
    async with await asyncio.start_unix_server(tell, path):
        await uvicorn.Server(config).serve()


def main() -> None:
    """Settings come from the environment, as they do for the server."""
    home, port, path = sys.argv[1:]
    server = assemble(load(home=Path(home)))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(server, int(port), Path(path)))


if __name__ == "__main__":
    main()
