"""The serving process keeps its interpreter free for the event loop."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys

import httpx
import pytest

from chatwright.config import Settings
from chatwright.server.app import assemble
from chatwright.server.http_server import SWITCH_SECONDS, HttpServer
from chatwright.server.reloading import Reloading


@pytest.fixture
def interpreter():
    """Left as it was found."""
    interval = sys.getswitchinterval()
    yield
    sys.setswitchinterval(interval)
    gc.unfreeze()


async def test_nothing_of_the_start_is_looked_through_again(tmp_path, model_home, default_model, interpreter):
    (tmp_path / "models").symlink_to(model_home / "models")
    script = tmp_path / "script.json"
    script.write_text('["Hello."]')
    model = {"model": "smollm2", "engine": "scripted", "script": str(script)}
    settings = Settings(home=tmp_path, api_keys=["k"], models=[model])
    server = assemble(settings)
    http = HttpServer(server, Reloading(server, lambda: settings))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        serving = asyncio.create_task(http.serve([listener]))
        await server.loaded.wait()
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/readyz")).status_code == 200
        assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
        assert gc.get_freeze_count() > 10_000
        http.end()
        await serving
