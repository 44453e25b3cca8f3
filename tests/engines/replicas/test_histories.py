"""Any history of members that come, go, refuse and die, and of clients that leave: no request is lost, none answered twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.core.engine import EngineInfo, EngineStats
from chatwright.core.errors import ChatwrightError, EngineFailed, Overloaded
from chatwright.core.generation import GenerationRequest, TokenChunk
from chatwright.core.sampling import SamplingParams
from chatwright.engines.replicas.replica_set import ReplicaSet

LENGTH = 4
Event = TokenChunk | ChatwrightError


class SteppedEngine:
    """Moves only when told: `step` gives one of its requests the next token, `fail` ends all that it has."""

    info = EngineInfo("stepped", "build", vocab_size=64, context_length=128)

    def __init__(self, seen: Counter[str]) -> None:
        self.ready = False
        self.refusing = False
        self.queues: dict[str, asyncio.Queue[Event]] = {}
        self._seen = seen

    @property
    def active(self) -> int:
        return len(self.queues)

    async def start(self) -> None:
        self.ready = True

    async def close(self) -> None:
        self.fail()
        self.ready = False

    async def stats(self) -> EngineStats:
        return EngineStats(running=self.active)

    def step(self, choice: int) -> None:
        if self.queues:
            names = sorted(self.queues)
            self.queues[names[choice % len(names)]].put_nowait(TokenChunk((1,)))

    def fail(self) -> None:
        for queue in self.queues.values():
            queue.put_nowait(EngineFailed("it died"))

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
        if self.refusing:
            raise Overloaded("full", retry_after=1.0)
        assert request.id not in self.queues
        self._seen[request.id] += 1
        queue = self.queues[request.id] = asyncio.Queue()
        try:
            for position in range(LENGTH):
                event = await queue.get()
                if isinstance(event, ChatwrightError):
                    raise event
                yield TokenChunk((position,), finish="length" if position == LENGTH - 1 else None)
        finally:
            del self.queues[request.id]


class History:
    """A set, its engines and its clients, and what must be true of them at any time."""

    def __init__(self) -> None:
        self.replicas = ReplicaSet()
        self.sent: Counter[str] = Counter()
        self.engines: dict[str, SteppedEngine] = {}
        self.got: dict[str, list[int]] = {}
        self.clients: dict[str, asyncio.Task[None]] = {}
        self.removals: list[asyncio.Task[None]] = []
        self.sent_at_first_token: dict[str, int] = {}

    async def do(self, action: str, choice: int) -> None:
        engines = list(self.engines.values())
        one = engines[choice % len(engines)] if engines else None
        match action:
            case "add":
                name = f"e{len(self.engines) + len(self.removals)}-{len(self.removals)}"
                self.engines[name] = SteppedEngine(self.sent)
                await self.replicas.add(name, self.engines[name])
            case "remove" if self.replicas.members:
                names = sorted(self.replicas.members)
                removal = self.replicas.remove(names[choice % len(names)])
                self.removals.append(asyncio.create_task(removal))
            case "ask":
                name = f"r{len(self.clients)}"
                self.clients[name] = asyncio.create_task(self._client(name))
            case "leave" if self.clients:
                list(self.clients.values())[choice % len(self.clients)].cancel()
            case "step" if one is not None:
                one.step(choice)
            case "refuse" if one is not None:
                one.refusing = not one.refusing
            case "die" if one is not None:
                one.fail()
                one.ready = False
            case "return" if one is not None:
                one.ready = True
        for _ in range(12):
            await asyncio.sleep(0)

    async def _client(self, name: str) -> None:
        request = GenerationRequest(name, (1, 2), SamplingParams(LENGTH, seed=1), reservation=6)
        got = self.got.setdefault(name, [])
        async with aclosing(self.replicas.generate(request)) as chunks:
            async for chunk in chunks:
                self.sent_at_first_token.setdefault(name, self.sent[name])
                got += chunk.token_ids

    async def end(self) -> None:
        """Let everything that still runs run out."""
        for engine in self.engines.values():
            engine.refusing = False
        for _ in range(200):
            for engine in self.engines.values():
                for choice in range(engine.active):
                    engine.step(choice)
            for _ in range(12):
                await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await asyncio.gather(*self.removals, *self.clients.values(), return_exceptions=True)

    def check(self) -> None:
        assert self.replicas.active == 0
        assert all(member.load == (0, 0) for member in self.replicas.members.values())
        assert all(removal.exception() is None for removal in self.removals)
        assert all(not engine.queues for engine in self.engines.values()), "nothing is left behind"
        for name, client in self.clients.items():
            got = self.got.get(name, [])
            assert got == list(range(len(got))), "no token lost, none doubled"
            if name in self.sent_at_first_token:
                assert self.sent[name] == self.sent_at_first_token[name], (
                    "nothing is sent again after a token"
                )
            if client.cancelled():
                continue
            error = client.exception()
            if error is None:
                assert len(got) == LENGTH
            else:
                assert isinstance(error, EngineFailed) or (isinstance(error, Overloaded) and not got)


ACTIONS = (
    "add",
    "add",
    "remove",
    "ask",
    "ask",
    "ask",
    "step",
    "step",
    "step",
    "leave",
    "refuse",
    "die",
    "return",
)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 7)), min_size=4, max_size=50))
def test_no_history_loses_or_doubles_anything(events: list[tuple[str, int]]) -> None:
    async def run() -> None:
        history = History()
        await history.replicas.start()
        await history.do("add", 0)
        for action, choice in events:
            await history.do(action, choice)
        await history.end()
        history.check()
        await history.replicas.close()

    asyncio.run(run())


@pytest.mark.parametrize("members", [2, 3, 5])
def test_a_request_without_a_token_is_served_while_anybody_is_well(members: int) -> None:
    """Two die under it, one after the other."""

    async def run() -> Any:
        history = History()
        await history.replicas.start()
        for _ in range(members):
            await history.do("add", 0)
        await history.do("ask", 0)
        for _ in range(min(2, members - 1)):
            holder = next(engine for engine in history.engines.values() if engine.active)
            holder.fail()
            holder.ready = False
            await history.do("nothing", 0)
        await history.end()
        history.check()
        return history.got["r0"]

    assert asyncio.run(run()) == list(range(LENGTH))
