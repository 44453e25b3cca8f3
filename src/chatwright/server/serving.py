"""`chatwright serve`: the server's life in the terminal, from the first progress bar to the last stream."""

from __future__ import annotations

import asyncio
import json
import shlex
import socket
from collections.abc import Callable

import uvloop
from rich.console import Console

from chatwright.accounts.keys import Keys
from chatwright.config import Settings, Source
from chatwright.models.progress_bar import ProgressBar
from chatwright.server.app import assemble, first_key, open_store
from chatwright.server.books import refuse_unshared_limits
from chatwright.server.fleet import Fleet
from chatwright.server.http_server import HttpServer
from chatwright.server.reloading import Reloading
from chatwright.server.supervisor import Supervisor

BACKLOG = 2048
"""Connections that may wait to be accepted."""


EXAMPLE = [
    {"role": "user", "content": "What is the capital of Italy?"},
    {"role": "assistant", "content": "The capital of Italy is Rome."},
    {"role": "user", "content": "What is the capital of France?"},
]
"""The first request to paste: a turn before the question shows a small model what is wanted."""


def run(source: Source, settings: Settings, console: Console) -> int:
    """Serve until a signal; returns the exit status. Raises what `assemble` raises."""
    listener = _listen(settings, console)
    if listener is None:
        return 1
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{listener.getsockname()[1]}"
    serve = _serve_alone if settings.workers == 1 else _serve_together
    with listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(source, settings, listener, console, url))


async def _serve_alone(
    source: Source, settings: Settings, listener: socket.socket, console: Console, url: str
) -> int:
    """In this process."""
    server = assemble(settings, ProgressBar(console))
    server.reloading = Reloading(server, source.read)
    key = first_key(server.keys) if not settings.api_keys else None
    http = HttpServer(server, server.reloading)
    watching = [
        asyncio.create_task(_announce(server.fleet, server.loaded, console, url, key)),
        asyncio.create_task(_give_up(server.fleet, console, http.end)),
    ]
    await http.serve(sockets=[listener])
    for task in watching:
        task.cancel()
    return _status(server.fleet)


async def _serve_together(
    source: Source, settings: Settings, listener: socket.socket, console: Console, url: str
) -> int:
    """In several processes, of which this one is the parent."""
    store, pepper = open_store(settings)
    refuse_unshared_limits(store, settings)
    key = first_key(Keys(store, pepper)) if not settings.api_keys else None
    store.close()
    listener.listen(BACKLOG)
    supervisor = Supervisor(source, settings, listener, ProgressBar(console))
    watching = [
        asyncio.create_task(_announce(supervisor.fleet, supervisor.ready, console, url, key)),
        asyncio.create_task(_give_up(supervisor.fleet, console, supervisor.end)),
    ]
    await supervisor.run()
    for task in watching:
        task.cancel()
    return _status(supervisor.fleet)


def _status(fleet: Fleet) -> int:
    return 1 if any(reason.startswith("failed") for reason in fleet.loading.values()) else 0


def _listen(settings: Settings, console: Console) -> socket.socket | None:
    """Take the port before anything slow, so that a taken one is told at once."""
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        console.print(
            f"chatwright: can't listen on {settings.host}:{settings.port}: {error.strerror or error}",
            markup=False,
        )
        return None
    return listener


async def _give_up(fleet: Fleet, console: Console, end: Callable[[], None]) -> None:
    """A server without a single model is of no use to anybody: say why and end it."""
    await fleet.loaded.wait()
    reasons = fleet.failures()
    if reasons:
        console.print(
            f"chatwright: no model could be loaded; {'; '.join(reasons)}", markup=False, soft_wrap=True
        )
        end()


async def _announce(fleet: Fleet, ready: asyncio.Event, console: Console, url: str, key: str | None) -> None:
    """Say how to use the server once its models are loaded."""
    with console.status("Loading the model ..."):
        await ready.wait()
        await fleet.loaded.wait()  # API processes may know an engine before their parent does
    if fleet.failures():
        return
    shown = key or "$CHATWRIGHT_API_KEY"
    slug = fleet.catalog.models()[0].id
    body = json.dumps({"model": slug, "messages": EXAMPLE, "temperature": 0, "max_tokens": 64})
    lines = [f"Chatwright serves {slug} at {url}/v1", ""]
    if key:
        lines += [f"Your API key, shown only now:  {key}", ""]
    else:
        lines += ["Your keys work as before; `chatwright keys create --name NAME` makes another.", ""]
    quote = f'"Authorization: Bearer {shown}"'
    lines.append(
        f"curl {url}/v1/chat/completions -H {quote} -H 'Content-Type: application/json' -d {shlex.quote(body)}"
    )
    print("\n".join(lines), flush=True)  # noqa: T201  for people and scripts alike, unwrapped
