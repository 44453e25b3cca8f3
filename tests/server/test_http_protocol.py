"""What comes before a body is bounded, and what is no HTTP is refused like everything else."""

from __future__ import annotations

import asyncio
import json

import pytest
import uvicorn

from chatwright.api.limits import HEAD
from chatwright.server.http_protocol import HttpProtocol

LINE = b"GET / HTTP/1.1\r\n"


async def hello(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


@pytest.fixture
async def address():
    config = uvicorn.Config(hello, port=0, http=HttpProtocol, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    yield server.servers[0].sockets[0].getsockname()
    server.should_exit = True
    await serving


async def say(address, *parts):
    """What comes back, up to its end or to the first answer's body."""
    reader, writer = await asyncio.open_connection(*address)
    said = b""
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        while not said.endswith((b"hi", b"}}")) and (more := await reader.read(65536)):
            said += more
    except ConnectionError:
        pass
    finally:
        writer.close()
    return said


def error(said):
    head, _, body = said.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert "content-type: application/json" in lines
    assert "connection: close" in lines
    assert any(line.startswith("x-request-id: req_") for line in lines)
    return int(lines[0].split()[1]), json.loads(body)["error"]["code"]


def head(size):
    """Headers with so many bytes of path, names and values."""
    return LINE + b"a: " + b"x" * (size - 2) + b"\r\n\r\n"


@pytest.mark.parametrize("size", [HEAD.maximum - 1, HEAD.maximum])
async def test_heads_within_the_limit_are_served(address, size):
    assert (await say(address, head(size))).endswith(b"hi")


async def test_a_larger_head_is_refused(address):
    assert error(await say(address, head(HEAD.maximum + 1))) == (413, "request_too_large")


@pytest.mark.parametrize("endless", [b"a: " + b"x" * 3_000_000, b"a: x\r\n" * 500_000])
async def test_a_head_without_end_is_refused_before_it_has_come(address, endless):
    said = await say(address, LINE, endless)
    assert said == b"" or error(said) == (413, "request_too_large")


@pytest.mark.parametrize(
    "nonsense",
    [
        b"NONSENSE\r\n\r\n",
        LINE + b"content-length: x\r\n\r\n",
        LINE + b"content-length: " + b"9" * 40 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_in_our_shape(address, nonsense):
    assert error(await say(address, nonsense)) == (400, "invalid_value")


async def test_requests_after_one_another_are_measured_each(address):
    reader, writer = await asyncio.open_connection(*address)
    for _ in range(3):
        writer.write(head(HEAD.maximum // 2))
        said = b""
        while not said.endswith(b"hi"):
            said += await reader.read(65536)
    writer.close()
