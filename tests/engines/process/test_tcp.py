"""Engines attached over TCP: only for those who know the secret, and whole across the engine's lives."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket

import msgspec
import pytest
from tests.engines.process.conftest import collect, options, request

from chatwright.core.errors import EngineFailed
from chatwright.engines.process import tcp
from chatwright.engines.process.client import ProcessEngine
from chatwright.engines.process.tcp import TcpAddress, TcpListener, admit, connect, listen, new_secret

SECRET = new_secret()


class Listening:
    """An engine that listens, and how to attach to it; a context manager, so that nothing stays open."""

    async def __aenter__(self) -> Listening:
        self.socket = listen("127.0.0.1")
        listener = TcpListener(self.socket.fileno(), SECRET)
        self.address = TcpAddress("127.0.0.1", self.socket.getsockname()[1], SECRET)
        born = msgspec.structs.replace(options(step_seconds=0.01), listen_tcp=listener)
        self.engine = ProcessEngine(born)
        self.greeted = asyncio.Event()
        self.attached = ProcessEngine(
            None, attach_to=self.address, on_ready=lambda *_: self.greeted.set(), silence_seconds=5
        )
        await self.engine.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.attached.close()
        await self.engine.close()
        self.socket.close()


@pytest.fixture
async def listening():
    async with Listening() as started:
        yield started


@pytest.fixture
async def admitting():
    """A listener that only admits: its address, and what it said of each who connected."""
    verdicts: asyncio.Queue[bool] = asyncio.Queue()

    async def verdict(reader, writer):
        verdicts.put_nowait(await admit(reader, writer, SECRET))
        writer.close()

    server = await asyncio.start_server(verdict, sock=listen("127.0.0.1"))
    yield TcpAddress("127.0.0.1", server.sockets[0].getsockname()[1], SECRET), verdicts
    server.close()
    await server.wait_closed()


async def test_an_attached_engine_gives_what_its_owner_gets(listening):
    await listening.attached.start()
    wanted = request("r", 20)
    assert await collect(listening.attached, wanted) == await collect(listening.engine, wanted)
    assert listening.attached.info == listening.engine.info
    assert (await listening.attached.stats()).generated_tokens == 40
    assert listening.attached.pid is None


async def test_hanging_up_aborts_what_the_attached_side_had_running(listening):
    await listening.attached.start()
    stream = listening.attached.generate(request("r", 1500))
    await anext(stream)
    closing = asyncio.create_task(listening.attached.close())
    with pytest.raises(EngineFailed):
        async for _ in stream:
            pass
    await closing
    while (stats := await listening.engine.stats()).running:
        pass
    assert (stats.aborted, stats.kv_blocks_used) == (1, 0)


async def test_the_port_stays_across_the_engines_death(listening):
    await listening.attached.start()
    listening.greeted.clear()
    stream = listening.attached.generate(request("r", 1500))
    await anext(stream)
    os.kill(listening.engine.pid, signal.SIGKILL)
    with pytest.raises(EngineFailed):
        async for _ in stream:
            pass
    await asyncio.wait_for(listening.greeted.wait(), 60)
    assert len(await collect(listening.attached, request("again"))) == 8


async def test_a_stranger_hears_nothing_but_a_nonce_and_takes_nothing_down(listening):
    for words in (b"", b"\xff" * 4096, b"\0" * 64):
        reader, writer = await asyncio.open_connection(listening.address.host, listening.address.port)
        nonce = await reader.readexactly(32)
        writer.write(words)
        writer.write_eof()
        with contextlib.suppress(ConnectionResetError):  # it closed with our bytes unread
            assert await reader.read() == b""
        writer.close()
        assert len(nonce) == 32
    await listening.attached.start()
    assert len(await collect(listening.attached, request("r"))) == 8


async def test_only_the_same_secret_is_admitted(admitting):
    address, verdicts = admitting
    _, writer = await connect(address)
    writer.close()
    assert await verdicts.get()
    with pytest.raises(OSError, match="not accepted"):
        await connect(TcpAddress(address.host, address.port, new_secret()))
    assert not await verdicts.get()


async def test_a_proof_is_good_for_one_connection_only(admitting):
    address, verdicts = admitting
    words = b""
    for admitted in (True, False):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        nonce = await reader.readexactly(32)
        words = words or bytes(32) + tcp._proof(SECRET, b"chatwright client 1", nonce, bytes(32))
        writer.write(words)
        assert await verdicts.get() is admitted
        writer.close()


async def test_a_listener_without_the_secret_is_no_engine():
    async def impostor(reader, writer):
        writer.write(bytes(32))
        await reader.readexactly(64)
        writer.write(bytes(32))
        writer.close()

    server = await asyncio.start_server(impostor, sock=listen("127.0.0.1"))
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectionError, match="doesn't know the secret"):
        await connect(TcpAddress("127.0.0.1", port, SECRET))
    server.close()
    await server.wait_closed()


async def test_nobody_listening_is_an_os_error():
    with listen("127.0.0.1") as taken:
        port = taken.getsockname()[1]
    with pytest.raises(OSError):  # noqa: PT011  the system's own words
        await connect(TcpAddress("127.0.0.1", port, SECRET))


async def test_a_connection_breaks_by_itself_once_the_other_node_is_gone(admitting):
    address, _ = admitting
    _, writer = await connect(address)
    wire = writer.get_extra_info("socket")
    assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000
    writer.close()


def test_an_address_is_shown_without_its_secret():
    assert repr(TcpAddress("10.0.0.7", 4711, b"hush" * 8)) == "TcpAddress('10.0.0.7', 4711)"
