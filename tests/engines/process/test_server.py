"""The child's side: several connections on one loop."""

from __future__ import annotations

import asyncio
import socket
import sys

import msgspec
import pytest
from tests.engines.process.conftest import options, request

from chatwright.engines.process import frames


class Connection:
    """One API process's end."""

    def __init__(self, reader, writer) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *messages) -> None:
        for message in messages:
            self.writer.write(frames.encode(message))

    async def receive(self):
        return await asyncio.wait_for(frames.read_from_engine(self.reader), 30)

    async def tokens(self, name):
        found = []
        while True:
            message = await self.receive()
            assert isinstance(message, frames.Outputs)
            assert {request_id for request_id, _ in message.items} == {name}
            found += [token for _, chunk in message.items for token in chunk.token_ids]
            if message.items[-1][1].finish:
                return found

    async def stats(self):
        self.send(frames.AskStats())
        while not isinstance(message := await self.receive(), frames.StatsReply):
            pass
        return message.stats

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


class Server:
    """An engine process with two connections."""

    async def start(self, **numbers) -> None:
        pairs = [socket.socketpair() for _ in range(2)]
        theirs = [pair[1].fileno() for pair in pairs]
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "chatwright.engines.process",
            *map(str, theirs),
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=theirs,
        )
        self.process.stdin.write(msgspec.json.encode(options(**numbers)) + b"\n")
        for pair in pairs:
            pair[1].close()
        self.one, self.two = [Connection(*await asyncio.open_unix_connection(sock=pair[0])) for pair in pairs]

    async def end(self) -> tuple[int, str]:
        """Hang up; how it left."""
        await self.one.close()
        await self.two.close()
        said = await asyncio.wait_for(self.process.stderr.read(), 30)
        status = await asyncio.wait_for(self.process.wait(), 30)
        self.process.stdin.close()
        return status, said.decode()


@pytest.fixture
async def server():
    server = Server()
    yield server
    await server.end()


async def greeted(server):
    assert isinstance(await server.one.receive(), frames.Hello)
    assert isinstance(await server.two.receive(), frames.Hello)


async def test_two_clients_share_a_loop_and_each_gets_its_own_tokens(server):
    await server.start()
    await greeted(server)
    server.one.send(frames.Submit(request("a", 50, (1, 2))))
    server.two.send(frames.Submit(request("b", 50, (3, 4))))
    a, b = await asyncio.gather(server.one.tokens("a"), server.two.tokens("b"))
    assert len(a) == len(b) == 50
    assert a != b


async def test_an_engine_that_fails_the_self_check_says_so_in_its_fingerprint(server):
    await server.start(batch_noise=0.001)
    hello = await server.one.receive()
    assert hello.info.fingerprint == "simulated-varying"
    assert "batch" in hello.warnings[0]


@pytest.mark.parametrize(
    ("gives_up", "fingerprint"), [({"exact_recompute": 0}, "simulated-varying"), ({}, "simulated")]
)
async def test_the_faster_mode_says_so_in_its_fingerprint_where_it_gives_anything_up(
    server, gives_up, fingerprint
):
    await server.start(reproducible=False, **gives_up)
    hello = await server.one.receive()
    assert (hello.info.fingerprint, hello.warnings) == (fingerprint, ())


async def test_a_client_that_goes_away_takes_its_requests_along_and_no_others(server):
    await server.start(step_seconds=0.01)
    await greeted(server)
    server.one.send(frames.Submit(request("a", 2000)))
    server.two.send(frames.Submit(request("b", 60)))
    assert isinstance(await server.one.receive(), frames.Outputs)
    await server.one.close()
    assert len(await server.two.tokens("b")) == 60
    while (stats := await server.two.stats()).running:
        pass
    assert stats.aborted == 1
    assert stats.kv_blocks_used == 0


async def test_a_client_that_breaks_the_protocol_is_cut_off_alone(server):
    await server.start()
    await greeted(server)
    server.one.writer.write(b"\x05\x00\x00\x00hello")
    assert await server.one.receive() is None
    server.two.send(frames.Submit(request("b", 5)))
    assert len(await server.two.tokens("b")) == 5


async def test_a_client_cant_abort_anothers_request(server):
    await server.start(step_seconds=0.005)
    await greeted(server)
    server.one.send(frames.Submit(request("a", 30)))
    assert isinstance(await server.one.receive(), frames.Outputs)
    server.two.send(frames.Abort("a"))
    assert len(await server.one.tokens("a")) == 29


async def test_an_id_in_use_is_refused_to_the_second_and_kept_by_the_first(server):
    await server.start(step_seconds=0.005)
    await greeted(server)
    server.one.send(frames.Submit(request("a", 30)))
    assert isinstance(await server.one.receive(), frames.Outputs)
    server.two.send(frames.Submit(request("a", 30)))
    assert (await server.two.receive()).code == "internal_error"
    assert len(await server.one.tokens("a")) == 29


async def test_it_ends_by_itself_once_every_client_has_gone():
    server = Server()
    await server.start()
    await greeted(server)
    assert await server.end() == (0, "")


async def test_a_failed_load_is_told_to_everybody_and_ends_it():
    server = Server()
    await server.start(kv_bytes=4096)
    for connection in (server.one, server.two):
        assert "kv_cache_bytes" in (await connection.receive()).message
        assert await connection.receive() is None
    status, said = await server.end()
    assert status == 1
    assert "kv_cache_bytes" in said
