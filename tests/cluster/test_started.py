"""Servers of other engines that replicas start: their lives, and an API that finds them. Real processes, no Ray."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest

from chatwright.cluster.directory import Directory, ServerAddress
from chatwright.cluster.following import FollowingEngine
from chatwright.cluster.replica import ListeningEngines, Replica
from chatwright.cluster.started import StartedServer, new_address
from chatwright.config import Settings
from chatwright.core.errors import EngineFailed
from chatwright.core.generation import GenerationRequest
from chatwright.core.sampling import SamplingParams
from chatwright.model_config import ModelSettings
from chatwright.server.remote import StartedServers

FAKE = Path(__file__).with_name("fake_vllm.py")
COMMAND = [sys.executable, str(FAKE), "--host", "{host}", "--port", "{port}", "--key", "{key}", "--pause"]


def request(name: str, max_tokens: int = 20) -> GenerationRequest:
    sampling = SamplingParams(max_tokens=max_tokens, seed=7, eos_token_ids=(2,))
    return GenerationRequest(name, (5, 6), sampling, max_tokens + 2)


async def tokens(stream) -> list[int]:
    return [token async for chunk in stream for token in chunk.token_ids]


@pytest.fixture
def model():
    return ModelSettings(model="m", engine="vllm", ray={"command": [*COMMAND, "0.005"]})


@pytest.fixture
def servers(model, default_tokenizer):
    return StartedServers(model, Settings(models=[model]), default_tokenizer, 8192)


@pytest.fixture
async def new_server(servers):
    made = []

    def make(command) -> tuple[StartedServer, ServerAddress]:
        address, filled = new_address("127.0.0.1", command)
        made.append(StartedServer(filled, servers.engine(address.url, address.key, 60)))
        return made[-1], address

    yield make
    for one in made:
        await one.close()


async def gone(address: ServerAddress) -> None:
    """Returns once nobody listens there."""
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(30):
        while True:
            try:
                await client.get(f"{address.url}/health")
            except httpx.ConnectError:
                return
            await asyncio.sleep(0.05)


async def test_it_lives_from_start_to_close(new_server):
    server, address = new_server([*COMMAND, "0"])
    assert not server.ready
    await server.start()
    assert server.ready
    assert server.info.name == "vllm"
    first = await tokens(server.generate(request("a")))
    assert len(first) == 20
    assert await tokens(server.generate(request("b"))) == first
    await server.close()
    assert not server.ready
    await gone(address)


async def test_its_load_is_what_the_server_says(new_server):
    server, address = new_server([*COMMAND, "0.05"])
    await server.start()
    assert address.key is not None
    body = {"token_ids": [5], "sampling_params": {"max_tokens": 100}, "stream": True}
    headers = {"authorization": f"Bearer {address.key}"}
    async with (
        httpx.AsyncClient(trust_env=False) as other,
        other.stream("POST", f"{address.url}/inference/v1/generate", json=body, headers=headers) as answer,
    ):
        await anext(answer.aiter_bytes())
        stats = await server.stats()
    assert (stats.running, stats.kv_blocks_total, server.active) == (1, 100, 0)


async def test_a_server_that_says_nothing_of_its_load_is_never_idle(new_server):
    server, _ = new_server([*COMMAND, "0"])
    assert (await server.stats()).running == 1


@pytest.mark.parametrize(
    ("command", "status"),
    [([sys.executable, "-c", "exit(3)", "{port}"], 3), (["/nowhere/vllm", "{port}"], 127)],
)
async def test_a_server_that_ends_before_it_serves_is_said_at_once(new_server, command, status):
    server, _ = new_server(command)
    with pytest.raises(EngineFailed, match=f"status {status} before"):
        await asyncio.wait_for(server.start(), 30)


async def test_a_server_that_dies_is_no_longer_ready(new_server):
    server, address = new_server([*COMMAND, "0.05"])
    await server.start()
    async with aclosing(server.generate(request("r", 200))) as stream:
        await anext(stream)
        pid = int(httpx.get(f"{address.url}/version", trust_env=False).json()["version"].split()[-1])
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineFailed):
            await tokens(stream)
    async with asyncio.timeout(30):
        while server.ready:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("with_keeper", [False, True])
def test_nothing_outlives_whoever_started_it(with_keeper):
    """Not even children of the server's, when its replica is killed, or that and its children."""
    program = "import subprocess, time; subprocess.Popen(['sleep', '1234.5']); print('up', flush=True); time.sleep(1234)"
    keeper = [sys.executable, "-m", "chatwright.cluster.keeper", sys.executable, "-c", program]
    script = (
        f"import subprocess, sys; keeper = subprocess.Popen({keeper!r}, stdin=subprocess.PIPE);"
        "print(keeper.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert parent.stdout.readline() == "up\n"
        parent.kill()
        if with_keeper:
            os.kill(pid, signal.SIGKILL)
        assert parent.stdout.read() == "", "whoever held standard output has ended"


def test_only_what_stands_for_something_is_filled_in():
    address, command = new_address("127.0.0.1", ["s", "--a={host}:{port}", '{"k": {}}'])
    assert address.key is None
    assert command == ["s", f"--a={address.url.removeprefix('http://')}", '{"k": {}}']
    with_key, command = new_address("127.0.0.1", ["{key}", "{port}"])
    assert command[0] == with_key.key
    assert with_key.key is not None
    assert with_key.key not in repr(with_key)


async def test_the_api_finds_servers_by_the_directory(model, servers):
    directory = Directory()
    api = FollowingEngine(
        "m",
        directory.watch,
        servers.together(),
        attach=lambda place: servers.engine(place.address.url, place.address.key),
    )
    replicas = {}

    async def add(name: str) -> None:
        sources = ListeningEngines("127.0.0.1", "n", {})
        engine = sources.started(servers, model)
        ((listener, place),) = sources.made

        async def write(where):
            await directory.register("m", name, where)

        async def strike():
            await directory.withdraw("m", name)

        replicas[name] = Replica(engine, listener, place, write, strike)
        await replicas[name].start()

    try:
        await add("a")
        await api.start()
        whole = await tokens(api.generate(request("reference", 100)))
        stream = api.generate(request("r", 100))
        first = await anext(stream)
        await add("b")
        async with asyncio.timeout(30):
            while len(api.members) != 2:
                await asyncio.sleep(0)
        await replicas.pop("a").drain(60)
        assert [*first.token_ids, *await tokens(stream)] == whole, "a stream is not cut"
        assert await tokens(api.generate(request("s", 100))) == whole
    finally:
        await api.close()
        for one in replicas.values():
            await one.drain(0)
