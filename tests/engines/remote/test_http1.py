"""HTTP/1.1 byte by byte: whatever a server sends becomes the answer it means, or an error of httpx's."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from contextlib import asynccontextmanager

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatwright.engines.remote.http1 import ChunkDecoder, Pool, Times

OK = b"HTTP/1.1 200 OK\r\n"


class Server:
    """Says its answers one after the other, each to one request; None hangs up instead."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0

    @asynccontextmanager
    async def serving(self, **times):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        seconds = {"connect": 5.0, "write": 5.0, "silence": 5.0, "idle": 5.0} | times
        pool = Pool(f"http://127.0.0.1:{port}/base", {"x-a": "b"}, Times(**seconds))
        try:
            yield pool
        finally:
            pool.close()
            server.close()

    async def _serve(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0)
                if answer is None:
                    return
                writer.write(answer)
                if b"until the end" in answer:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def content(pool: Pool) -> bytes:
    async with pool.post("/go", b"{}") as response:
        return b"".join([piece async for piece in response.pieces()])


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x;x=y\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.data())
def test_any_split_of_a_chunked_answer_is_the_same(pieces, data):
    whole = chunked(*pieces)
    places = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=12)))
    decoder, found = ChunkDecoder(), b""
    for start, end in itertools.pairwise([0, *places, len(whole)]):
        assert not decoder.done
        found += b"".join(decoder.feed(whole[start:end]))
    assert (found, decoder.done) == (b"".join(pieces), True)


@pytest.mark.parametrize(
    "data", [b"x\r\n", b"-1\r\n", b"0x5\r\n", b"\r\n", b"5\r\nhelloX\r\n", b"0\r\n\r\nmore", b"1" * 40_000]
)
def test_what_is_no_chunked_coding_is_an_error(data):
    with pytest.raises(httpx.RemoteProtocolError):
        list(ChunkDecoder().feed(data))


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (OK + b"content-length: 5\r\n\r\nhello", b"hello"),
        (OK + b"Content-Length: 0\r\n\r\n", b""),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"hel", b"lo"), b"hello"),
        (OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-trailer: 1\r\n\r\n", b"hello"),
        (OK + b"\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length: 2\r\n\r\nhi", b"hi"),
    ],
)
async def test_an_answer_ends_where_it_says(answer, found):
    server = Server(answer)
    async with server.serving() as pool:
        assert await content(pool) == found
    (request,) = server.requests
    assert request.startswith(b"POST /base/go HTTP/1.1\r\nhost: 127.0.0.1:")
    assert request.endswith(b"x-a: b\r\ncontent-length: 2\r\n\r\n{}")


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"SSH-2.0\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        OK + b"content-length: -5\r\n\r\n",
        b"x" * 100_000,
    ],
)
async def test_what_is_no_answer_is_an_error(answer):
    async with Server(answer).serving() as pool:
        with pytest.raises(httpx.RemoteProtocolError):
            await content(pool)


async def test_a_connection_is_kept_where_the_server_keeps_it():
    whole = OK + b"content-length: 2\r\n\r\nhi"
    server = Server(whole, whole, OK + b"connection: close\r\ncontent-length: 2\r\n\r\nhi", whole)
    async with server.serving() as pool:
        for connections in (1, 1, 1, 2):
            assert await content(pool) == b"hi"
            assert server.connections == connections


async def test_a_connection_that_was_idle_for_too_long_is_not_used():
    whole = OK + b"content-length: 2\r\n\r\nhi"
    server = Server(whole, whole)
    async with server.serving(idle=0.0) as pool:
        await content(pool)
        await content(pool)
    assert server.connections == 2


async def test_a_request_that_met_a_closing_connection_is_sent_again_once():
    whole = OK + b"content-length: 2\r\n\r\nhi"
    server = Server(whole, None, whole)
    async with server.serving() as pool:
        await content(pool)
        assert await content(pool) == b"hi"
    assert len(server.requests) == 3
    server = Server(None, whole)
    async with server.serving() as pool:  # a new connection was not idle: the server may have begun
        with pytest.raises(httpx.RemoteProtocolError):
            await content(pool)
    assert len(server.requests) == 1


async def test_an_answer_that_is_left_early_hangs_up():
    server = Server(OK + b"content-length: 9\r\n\r\nhel", OK + b"content-length: 2\r\n\r\nhi")
    async with server.serving() as pool:
        async with pool.post("/go", b"{}") as response:
            assert await anext(response.pieces()) == b"hel"
        assert await content(pool) == b"hi"
    assert server.connections == 2


async def test_an_answer_that_breaks_off_or_falls_silent_is_an_error():
    async with Server(OK + b"content-length: 90\r\n\r\nuntil the end").serving() as pool:
        with pytest.raises(httpx.RemoteProtocolError, match="breaks off"):
            await content(pool)
    async with Server(OK + b"content-length: 9\r\n\r\nhel").serving(silence=0.05) as pool:
        with pytest.raises(httpx.ReadTimeout):
            await content(pool)


async def test_what_runs_when_the_pool_is_closed_fails():
    async with (
        Server(OK + b"content-length: 9\r\n\r\nhel").serving() as pool,
        pool.post("/go", b"{}") as response,
    ):
        pieces = response.pieces()
        assert await anext(pieces) == b"hel"
        pool.close()
        with pytest.raises(httpx.HTTPError):
            await anext(pieces)


async def test_nobody_there_is_an_error_that_says_so():
    times = Times(5.0, 5.0, 5.0, 5.0)
    with pytest.raises(httpx.ConnectError):
        await content(Pool("http://127.0.0.1:9", {}, times))
    server = Server()
    async with server.serving() as pool:
        context = ssl.create_default_context()
        secure = Pool(f"https://127.0.0.1:{pool._port}", {}, Times(0.5, 5.0, 5.0, 5.0), tls=context)
        with pytest.raises((httpx.ConnectError, httpx.ConnectTimeout)):
            await content(secure)
