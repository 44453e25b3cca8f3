"""Requests over several members: where they go, and where they go instead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import pytest

from chatwright.core.engine import EngineInfo, EngineStats
from chatwright.core.errors import (
    ChatwrightError,
    DeadlineExceeded,
    EngineFailed,
    InvalidValue,
    Overloaded,
)
from chatwright.core.generation import GenerationRequest, TokenChunk
from chatwright.core.sampling import SamplingParams
from chatwright.engines.replicas.replica_set import ReplicaSet
from chatwright.engines.replicas.routing import LeastLoaded, Load

INFO = EngineInfo("fake", "build", vocab_size=64, context_length=128)


class FakeEngine:
    """Gives `chunks` one by one, raising those that are errors. `gate`, where set, is awaited before each."""

    def __init__(
        self,
        *chunks: TokenChunk | ChatwrightError,
        info: EngineInfo = INFO,
        gate: asyncio.Event | None = None,
        start_errors: list[EngineFailed] | None = None,
    ) -> None:
        self.chunks = chunks
        self.info = info
        self.gate = gate
        self.ready = False
        self.active = 0
        self.requests = 0
        self.aborted = 0
        self.closed = 0
        self.start_errors = start_errors or []

    async def start(self) -> None:
        if self.start_errors:
            raise self.start_errors.pop(0)
        self.ready = True

    async def close(self) -> None:
        self.ready = False
        self.closed += 1

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
        self.requests += 1
        try:
            for chunk in self.chunks:
                if self.gate is not None:
                    await self.gate.wait()
                if isinstance(chunk, ChatwrightError):
                    raise chunk
                yield chunk
        except (GeneratorExit, asyncio.CancelledError):
            self.aborted += 1
            raise

    async def stats(self) -> EngineStats:
        return EngineStats(running=self.requests, steps=10)


def token(number: int, *, last: bool = False) -> TokenChunk:
    return TokenChunk((number,), finish="length" if last else None)


def request(name: str = "r", deadline: float | None = None) -> GenerationRequest:
    return GenerationRequest(name, (1, 2, 3), SamplingParams(8, seed=1), reservation=11, deadline=deadline)


class InOrder(LeastLoaded):
    """The first by name."""

    def choose(self, request: GenerationRequest, loads: Mapping[str, Load]) -> str:
        return min(loads)


async def started(members: Mapping[str, FakeEngine], **options: object) -> ReplicaSet:
    replicas = ReplicaSet(members, **{"router": InOrder(), **options})  # type: ignore[arg-type]
    await replicas.start()
    return replicas


async def tokens(replicas: ReplicaSet, one: GenerationRequest | None = None) -> list[int]:
    async with aclosing(replicas.generate(one or request())) as chunks:
        return [token for chunk in [chunk async for chunk in chunks] for token in chunk.token_ids]


@pytest.mark.parametrize("error", [EngineFailed("died"), Overloaded("full", retry_after=1)])
async def test_a_request_without_a_token_moves(error: ChatwrightError) -> None:
    bad, good = FakeEngine(error), FakeEngine(token(5), token(6, last=True))
    replicas = await started({"a": bad, "b": good})
    assert await tokens(replicas) == [5, 6]
    assert (bad.requests, good.requests, replicas.active) == (1, 1, 0)


async def test_a_chunk_without_a_token_is_forgotten_with_its_member() -> None:
    bad = FakeEngine(TokenChunk(cached_tokens=2), EngineFailed("died"))
    replicas = await started({"a": bad, "b": FakeEngine(token(5, last=True))})
    async with aclosing(replicas.generate(request())) as chunks:
        assert [chunk async for chunk in chunks] == [token(5, last=True)]


async def test_an_answer_that_ends_before_it_begins_moves() -> None:
    replicas = await started({"a": FakeEngine(), "b": FakeEngine(token(5, last=True))})
    assert await tokens(replicas) == [5]


async def test_a_failure_after_a_token_reaches_the_client() -> None:
    replicas = await started(
        {
            "a": FakeEngine(token(5), EngineFailed("died")),
            "b": FakeEngine(token(9, last=True)),
        }
    )
    chunks = replicas.generate(request())
    assert await anext(chunks) == token(5)
    with pytest.raises(EngineFailed, match="died"):
        await anext(chunks)


async def test_a_fault_of_the_client_does_not_move() -> None:
    other = FakeEngine(token(9, last=True))
    replicas = await started({"a": FakeEngine(InvalidValue("no")), "b": other})
    with pytest.raises(InvalidValue):
        await tokens(replicas)
    assert other.requests == 0


async def test_where_all_are_overloaded_the_soonest_says_when_to_come_back() -> None:
    members = {
        str(n): FakeEngine(Overloaded("full", retry_after=after)) for n, after in enumerate((4.0, 2.0, 9.0))
    }
    replicas = await started({**members, "3": FakeEngine(Overloaded("full"))})
    with pytest.raises(Overloaded) as refusal:
        await tokens(replicas)
    assert refusal.value.retry_after == 2.0
    assert [member.requests for member in members.values()] == [1, 1, 1], "nobody was asked twice"


async def test_where_all_die_the_client_hears_of_a_failure() -> None:
    replicas = await started({name: FakeEngine(EngineFailed(name)) for name in "ab"})
    with pytest.raises(EngineFailed):
        await tokens(replicas)


async def test_a_request_that_kills_its_engine_does_not_kill_them_all() -> None:
    members = {name: FakeEngine(EngineFailed(name)) for name in "abcdef"}
    replicas = await started(members)
    with pytest.raises(EngineFailed):
        await tokens(replicas)
    assert sum(member.requests for member in members.values()) == 3


async def test_a_deadline_that_has_passed_stops_the_moving() -> None:
    other = FakeEngine(token(9, last=True))
    replicas = await started({"a": FakeEngine(EngineFailed("died")), "b": other}, clock=lambda: 100.0)
    with pytest.raises(DeadlineExceeded):
        await tokens(replicas, request(deadline=99.0))
    assert other.requests == 0


async def test_members_that_are_not_ready_are_left_out() -> None:
    members = {"a": FakeEngine(token(1, last=True)), "b": FakeEngine(token(2, last=True))}
    replicas = await started(members)
    members["a"].ready = False
    assert await tokens(replicas) == [2]
    members["b"].ready = False
    assert not replicas.ready
    with pytest.raises(Overloaded):
        await tokens(replicas)


async def test_closing_the_iterator_aborts_in_the_member() -> None:
    member = FakeEngine(token(1), token(2, last=True))
    replicas = await started({"a": member})
    chunks = replicas.generate(request())
    await anext(chunks)
    assert replicas.active == 1
    await chunks.aclose()
    assert (member.aborted, replicas.active, replicas.members["a"].load.requests) == (1, 0, 0)


async def test_a_member_that_is_removed_finishes_what_it_does_and_gets_nothing_more() -> None:
    old = FakeEngine(token(1), token(2, last=True))
    replicas = await started({"a": old})
    chunks = replicas.generate(request())
    await anext(chunks)
    await replicas.add("b", FakeEngine(token(9, last=True)))
    removing = asyncio.create_task(replicas.remove("a"))
    await asyncio.sleep(0)
    assert await tokens(replicas, request("other")) == [9]
    assert (old.requests, old.closed) == (1, 0)
    assert [chunk async for chunk in chunks] == [token(2, last=True)]
    await removing
    assert old.closed == 1


async def test_a_closed_set_moves_nothing() -> None:
    gate = asyncio.Event()
    first, second = FakeEngine(EngineFailed("closed"), gate=gate), FakeEngine(token(9, last=True))
    replicas = await started({"a": first, "b": second})
    running = asyncio.create_task(tokens(replicas))
    while not first.requests:
        await asyncio.sleep(0)
    await replicas.close()
    gate.set()
    with pytest.raises(EngineFailed):
        await running
    assert second.requests == 0


# -- who may belong together ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        EngineInfo("fake", "build", 65, 128),
        EngineInfo("fake", "build", 64, 127),
        EngineInfo("fake", "build", 64, 128, unsupported=("seed",)),
    ],
)
async def test_members_that_serve_other_requests_are_refused(other: EngineInfo) -> None:
    replicas = await started({"a": FakeEngine()})
    stranger = FakeEngine(info=other)
    with pytest.raises(EngineFailed, match="differs"):
        await replicas.add("b", stranger)
    assert (list(replicas.members), stranger.closed) == (["a"], 1)
    with pytest.raises(EngineFailed, match="differs"):
        await started({"a": FakeEngine(), "b": FakeEngine(info=other)})
    with pytest.raises(EngineFailed, match="differs from the settings"):
        await started({"a": FakeEngine()}, info=other)


async def test_the_fingerprint_is_theirs_or_stands_for_all() -> None:
    replicas = await started({"a": FakeEngine(), "b": FakeEngine()})
    assert replicas.info.fingerprint == "build"
    await replicas.add("c", FakeEngine(info=EngineInfo("fake", "other", 64, 128)))
    assert replicas.info.fingerprint not in ("build", "other")
    await replicas.remove("c")
    assert replicas.info.fingerprint == "build"


async def test_a_member_that_fails_to_start_is_started_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatwright.engines.replicas.replica_set.RETRY_SECONDS", (0.0,))
    late = FakeEngine(token(2, last=True), start_errors=[EngineFailed("no"), EngineFailed("not yet")])
    replicas = await started({"a": FakeEngine(token(1, last=True)), "b": late})
    assert await tokens(replicas) == [1]
    async with asyncio.timeout(10):
        while not late.ready:
            await asyncio.sleep(0)
    replicas.members["a"].engine.ready = False  # type: ignore[misc]
    assert await tokens(replicas) == [2]
    await replicas.close()


async def test_a_set_of_which_nobody_starts_fails() -> None:
    with pytest.raises(EngineFailed, match="no"):
        await started({"a": FakeEngine(start_errors=[EngineFailed("no")])})


async def test_a_set_can_start_empty() -> None:
    replicas = await started({}, info=INFO)
    assert (replicas.info, replicas.ready) == (INFO, False)
    with pytest.raises(Overloaded):
        await tokens(replicas)
    await replicas.add("a", FakeEngine(token(1, last=True)))
    assert await tokens(replicas) == [1]
    with pytest.raises(ValueError, match="already"):
        await replicas.add("a", FakeEngine())


class SlowToStart(FakeEngine):
    """Starts once its gate opens."""

    async def start(self) -> None:
        assert self.gate is not None
        await self.gate.wait()
        await super().start()


async def test_a_member_that_is_still_starting_has_its_name_and_does_not_outlive_the_set() -> None:
    replicas = await started({"a": FakeEngine()})
    slow = SlowToStart(gate=asyncio.Event())
    adding = asyncio.create_task(replicas.add("b", slow))
    await asyncio.sleep(0)
    with pytest.raises(ValueError, match="already"):
        await replicas.add("b", FakeEngine())
    await replicas.close()
    assert slow.gate is not None
    slow.gate.set()
    with pytest.raises(EngineFailed, match="shutting down"):
        await adding
    assert (slow.closed, list(replicas.members)) == (1, ["a"])


async def test_stats_are_summed() -> None:
    replicas = await started({name: FakeEngine(token(1, last=True)) for name in "abc"})
    await tokens(replicas)
    assert await replicas.stats() == EngineStats(running=1, steps=30)


class Telling(FakeEngine):
    """Full, where `wait` says when to come again."""

    wait: float | None = None

    def overload(self, waiting_share: float, coming: int) -> Overloaded | None:
        return None if self.wait is None and not coming else Overloaded("full", retry_after=self.wait)


async def test_a_set_is_full_where_all_that_are_ready_say_so() -> None:
    first, second, third = Telling(), Telling(), Telling()
    replicas = await started({"a": first, "b": second, "c": third})
    third.ready = False
    first.wait = 5.0
    assert replicas.overload(1.0, 0) is None
    assert replicas.overload(1.0, 1) is None, "one on the way doesn't fill two"
    second.wait = 3.0
    full = replicas.overload(1.0, 0)
    assert full is not None
    assert full.retry_after == 3.0
    first.ready = second.ready = False
    assert replicas.overload(1.0, 0) is None


async def test_a_set_with_a_member_that_does_not_tell_is_asked() -> None:
    full = Telling()
    full.wait = 1.0
    assert (await started({"a": full, "b": FakeEngine()})).overload(1.0, 0) is None
