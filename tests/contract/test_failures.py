"""Clients that go away and engines that die, watched from inside the server's own event loop."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import httpx
import openai
import pytest
import pytest_asyncio
import uvicorn

from chatwright.config import Settings
from chatwright.models.catalog import DEFAULT_SLUG as MODEL
from chatwright.server.app import assemble

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]
KEY = "inside"
LONG = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Tell me a long story."}],
    "max_tokens": 2000,
    "ignore_eos": True,
}
SHORT = LONG | {"max_tokens": 4}


class Inside:
    """A server in this loop: its engine can be asked, and killed."""

    def __init__(self, server, port):
        self.server = server
        self.port = port
        (model,) = server.catalog.served()
        self.engine = model.engine
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {KEY}"}, timeout=60
        )

    async def open_raw(self, **members):
        """A request on a bare socket."""
        body = json.dumps(LONG | members).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return reader, writer

    async def until(self, condition):
        """The first reading of the engine that fulfils a condition."""
        while not condition(stats := await self.engine.stats()):
            await asyncio.sleep(0)
        return stats

    async def running(self, count):
        return await self.until(lambda stats: stats.running == count)


@pytest.fixture(scope="module")
def settings(new_home):
    one = {"model": MODEL, "kv_cache_gib": 0.5}
    return Settings(home=new_home(), api_keys=[KEY], models=[one], heartbeat_seconds=0.2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def inside(settings):
    server = assemble(settings)
    http = uvicorn.Server(uvicorn.Config(server.asgi, port=0, log_config=None, lifespan="on"))
    serving = asyncio.create_task(http.serve())
    await server.loaded.wait()
    assert not server.loading
    while not http.started:
        await asyncio.sleep(0.01)
    inside = Inside(server, http.servers[0].sockets[0].getsockname()[1])
    async with inside.http:
        yield inside
    http.should_exit = True
    await serving


@pytest.mark.parametrize("stream", [True, False])
async def test_client_that_goes_away_stops_its_generation(inside, stream):
    before = await inside.running(0)
    reader, writer = await inside.open_raw(stream=stream)
    if stream:
        await reader.readuntil(b'"content":"')
        for _ in range(3):
            await reader.readuntil(b"data: ")
    await inside.until(lambda stats: stats.generated_tokens > before.generated_tokens + 3)
    writer.transport.abort()
    after = await inside.until(lambda stats: stats.aborted > before.aborted)
    assert (after.aborted - before.aborted, after.running, after.waiting) == (1, 0, 0)
    assert after.generated_tokens - before.generated_tokens < LONG["max_tokens"] / 2
    assert (await inside.http.post("/v1/chat/completions", json=SHORT)).status_code == 200
    final = await inside.engine.stats()
    assert final.generated_tokens - after.generated_tokens <= 2 + SHORT["max_tokens"]


async def test_client_that_leaves_does_not_touch_its_neighbours(inside):
    before = await inside.running(0)
    neighbour = asyncio.create_task(
        inside.http.post("/v1/chat/completions", json=LONG | {"max_tokens": 60, "temperature": 0})
    )
    _, writer = await inside.open_raw(stream=True)
    await inside.running(2)
    writer.transport.abort()
    answer = (await neighbour).json()
    assert answer["usage"]["completion_tokens"] == 60
    stats = await inside.running(0)
    assert stats.aborted - before.aborted == 1


async def test_sdk_stream_that_is_closed_early_stops_its_generation(inside):
    before = await inside.running(0)
    url = f"http://127.0.0.1:{inside.port}/v1"
    async with openai.AsyncOpenAI(api_key=KEY, base_url=url) as sdk:
        stream = await sdk.chat.completions.create(
            model=MODEL,
            messages=LONG["messages"],
            max_tokens=2000,
            extra_body={"ignore_eos": True},
            stream=True,
        )
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()
    await inside.until(lambda stats: stats.aborted == before.aborted + 1)


async def test_blocks_come_back_after_an_abort(inside):
    before = await inside.running(0)
    for _ in range(4):
        _, writer = await inside.open_raw(stream=True)
        await inside.running(1)
        writer.transport.abort()
        await inside.running(0)
    after = await inside.engine.stats()
    assert after.kv_blocks_used <= before.kv_blocks_used + 8  # what the prefix cache may keep


async def test_killed_engine_fails_its_requests_and_comes_back(inside):
    stop = asyncio.Event()

    async def health():
        answers = 0
        while not stop.is_set():
            assert (await inside.http.get("/health")).status_code == 200
            answers += 1
            await asyncio.sleep(0.01)
        return answers

    before = inside.engine.restarts
    watching = asyncio.create_task(health())
    whole = asyncio.create_task(inside.http.post("/v1/chat/completions", json=LONG))
    reader, writer = await inside.open_raw(stream=True)
    await reader.readuntil(b'"content":"')
    await inside.running(2)
    os.kill(inside.engine.pid, signal.SIGKILL)

    failed = await whole
    assert failed.status_code == 500
    assert failed.json()["error"]["type"] == "server_error"
    assert failed.json()["error"]["code"] == "internal_error"
    rest = await reader.readuntil(b"data: [DONE]\n\n")
    last = json.loads(rest.split(b"data: ")[-2].split(b"\r\n")[0])
    assert last["error"]["type"] == "server_error"
    assert b'"finish_reason":"' not in rest
    writer.close()

    while (response := await inside.http.post("/v1/chat/completions", json=SHORT)).status_code == 503:
        assert response.json()["error"]["code"] == "overloaded"
        assert int(response.headers["retry-after"]) >= 1
        ready = await inside.http.get("/readyz")
        assert ready.status_code in (200, 503)
        await asyncio.sleep(0.05)
    assert response.json()["usage"]["completion_tokens"] == 4
    assert inside.engine.restarts == before + 1
    assert (await inside.http.get("/readyz")).status_code == 200
    stop.set()
    assert await watching > 5


async def test_sdk_sees_a_killed_engine_as_an_api_error(inside):
    url = f"http://127.0.0.1:{inside.port}/v1"
    async with openai.AsyncOpenAI(api_key=KEY, base_url=url, max_retries=0) as sdk:
        stream = await sdk.chat.completions.create(
            model=MODEL,
            messages=LONG["messages"],
            max_tokens=2000,
            extra_body={"ignore_eos": True},
            stream=True,
        )
        await anext(aiter(stream))
        os.kill(inside.engine.pid, signal.SIGKILL)
        with pytest.raises(openai.APIError) as caught:
            [chunk async for chunk in stream]
        assert "restarted" in str(caught.value)
    while not inside.engine.ready:
        await asyncio.sleep(0.05)
