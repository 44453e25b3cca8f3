"""A server on a real socket that says what it is told to, byte for byte, and a dialect of three words to talk to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from chatwright.core.engine import EngineStats
from chatwright.core.errors import EngineFailed
from chatwright.core.generation import GenerationRequest, TokenChunk
from chatwright.core.sampling import SamplingParams
from chatwright.engines.remote.backend import Backend
from chatwright.engines.remote.capabilities import Capability
from chatwright.engines.remote.dialect import Greeting, Reply, WireRequest
from chatwright.engines.remote.engine import RemoteEngine


@dataclass
class Say:
    """A response. `pieces` are written one by one; with `wait` the last one only once that is set; `cut` breaks off after
    them; `gone` is set when the client has hung up.
    """

    pieces: list[bytes] = field(default_factory=list)
    status: int = 200
    kind: str = "text/event-stream"
    headers: dict[str, str] = field(default_factory=dict)
    wait: asyncio.Event | None = None
    cut: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)


def as_json(value: Any, status: int = 200, **headers: str) -> Say:
    return Say([json.dumps(value).encode()], status, "application/json", headers)


def as_events(*values: Any, done: bool = True) -> list[bytes]:
    events = [
        b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"
        for value in values
    ]
    return [*events, b"data: [DONE]\n\n"] if done else events


class Stub:
    """Answers by path. `replies` maps a path to what it says: one thing, or one after the other, the last for ever."""

    def __init__(self) -> None:
        self.replies: dict[str, Say | list[Say] | Callable[[Any], Say]] = {"/health": Say(kind="text/plain")}
        self.requests: list[tuple[str, Any]] = []
        self.connections = 0
        self.open = 0
        self.began = asyncio.Event()

    def bodies(self, path: str) -> list[Any]:
        return [body for at, body in self.requests if at == path]

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        path = head[0].split(" ")[1]
        length = next(
            (int(line.split(":")[1]) for line in head if line.lower().startswith("content-length")), 0
        )
        body = await reader.readexactly(length)
        self.requests.append((path, json.loads(body) if body else None))
        say = self._reply(path, self.requests[-1][1])
        writer.write(
            f"HTTP/1.1 {say.status} X\r\ncontent-type: {say.kind}\r\ntransfer-encoding: chunked\r\n".encode()
        )
        writer.write(
            "".join(f"{name}: {value}\r\n" for name, value in say.headers.items()).encode() + b"\r\n"
        )
        watching = asyncio.ensure_future(reader.read(1)) if say.wait else None
        for index, piece in enumerate(say.pieces):
            if say.wait is not None and index == len(say.pieces) - 1:
                self.began.set()
                if not await self._waited(say, watching):
                    return False
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
        if watching is not None:
            watching.cancel()
        if say.cut:
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _waited(self, say: Say, watching: asyncio.Future[bytes] | None) -> bool:
        """Whether the client is still there when it goes on."""
        assert say.wait is not None
        assert watching is not None
        going = asyncio.ensure_future(say.wait.wait())
        await asyncio.wait({going, watching}, return_when=asyncio.FIRST_COMPLETED)
        going.cancel()
        if watching.done():
            say.gone.set()
            return False
        return True

    def _reply(self, path: str, body: Any) -> Say:
        found = self.replies.get(path)
        if callable(found):
            return found(body)
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found or Say(status=404)


class ToyEvent(msgspec.Struct):
    """Tokens, finish, cached tokens, handoff, error."""

    t: tuple[int, ...] = ()
    f: str | None = None
    c: int = 0
    h: dict[str, Any] | None = None
    e: str = ""


class Toy:
    """The least a dialect can be."""

    name = "toy"
    capabilities = (Capability("seed", "refused"),)
    fields = MappingProxyType({"bias": "logit_bias"})
    greeting = Greeting("1.0", "m", 100)

    async def greet(self, ask: Any, model: str | None, ends: tuple[int, ...]) -> Greeting:
        answer = await ask("GET", "/greet", None)
        return self.greeting if answer.status == 404 else Greeting(**answer.body)

    def request(self, request: GenerationRequest, greeting: Greeting, handoff: Any) -> WireRequest:
        return WireRequest("/go", {"prompt": request.prompt_token_ids, "handoff": handoff})

    def reader(self, request: GenerationRequest) -> Toy:
        return self

    def read(self, event: bytes) -> Reply:
        told = msgspec.json.decode(event, type=ToyEvent)
        if told.e:
            raise EngineFailed(told.e)
        return Reply(told.t, finish=told.f, cached_tokens=told.c, handoff=told.h)

    def stats(self, samples: Any) -> EngineStats:
        return EngineStats(running=int(samples.get("run", 0)), waiting=int(samples.get("wait{queue}", 0)))


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    server = Stub()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def say() -> type[Say]:
    return Say


@pytest.fixture
def says() -> Callable[..., Say]:
    """A JSON response."""
    return as_json


@pytest.fixture
def events() -> Callable[..., list[bytes]]:
    return as_events


@pytest.fixture
def toy() -> Iterator[type[Toy]]:
    return Toy


@pytest.fixture
def running(stub: Stub) -> Callable[..., Any]:
    """A started engine in front of the stub; `members` are the backend's."""

    @asynccontextmanager
    async def run(dialect: Any = None, contexts: Any = None, **members: Any) -> AsyncIterator[RemoteEngine]:
        told = {
            "url": stub.url,
            "vocab_size": 100,
            "context_length": 100,
            "eos_token_ids": (2,),
            "patience": 0.0,
            "check_every": 60.0,
        }
        engine = RemoteEngine(dialect or Toy(), Backend(**(told | members)), contexts)
        await engine.start()
        try:
            yield engine
        finally:
            await engine.close()

    return run


@pytest.fixture
def new_request() -> Callable[..., GenerationRequest]:
    """Make a request; members of the sampling parameters may be given flat."""

    def make(**members: Any) -> GenerationRequest:
        own = {name: members.pop(name) for name in SamplingParams.__struct_fields__ if name in members}
        sampling = SamplingParams(**({"max_tokens": 8, "seed": 7, "eos_token_ids": (2,)} | own))
        base = {"id": "r1", "prompt_token_ids": (5, 6), "sampling": sampling, "reservation": 10}
        return GenerationRequest(**(base | members))

    return make


@pytest.fixture
def collected() -> Callable[..., Any]:
    """Everything an engine makes of a request."""

    async def collect(engine: RemoteEngine, request: GenerationRequest) -> list[TokenChunk]:
        return [chunk async for chunk in engine.generate(request)]

    return collect
