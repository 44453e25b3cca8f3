"""Engines that share a memory budget: loaded on demand, unloaded when idle, never under a stream."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from chatwright.core.engine import EngineInfo
from chatwright.core.errors import DeadlineExceeded, EngineFailed, Overloaded
from chatwright.core.generation import GenerationRequest
from chatwright.core.sampling import SamplingParams
from chatwright.engines.residency import OnDemandEngine, Residency
from chatwright.engines.scripted import ScriptedEngine

EXPECTED = EngineInfo("scripted", "", 10, 100)


class Loads(ScriptedEngine):
    """Remembers when it was loaded and unloaded."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__(lambda _: [5, 6, 7], vocab_size=10)
        self._name = name
        self._log = log

    async def start(self) -> None:
        self._log.append(f"+{self._name}")
        await super().start()

    async def close(self) -> None:
        self._log.append(f"-{self._name}")
        await super().close()


def request(number: int, deadline: float | None = None) -> GenerationRequest:
    return GenerationRequest(f"r{number}", (1,), SamplingParams(8, 0), reservation=9, deadline=deadline)


async def tokens(engine: OnDemandEngine, deadline: float | None = None) -> list[int]:
    return [token async for chunk in engine.generate(request(0, deadline)) for token in chunk.token_ids]


@pytest.fixture
def log() -> list[str]:
    return []


def engines(log: list[str], budget: int, **sizes: int) -> list[OnDemandEngine]:
    residency = Residency(budget)
    return [OnDemandEngine(Loads(name, log), size, residency, EXPECTED) for name, size in sizes.items()]


async def test_first_request_loads_and_the_second_finds_it_loaded(log: list[str]) -> None:
    (a,) = engines(log, 10, a=10)
    assert await tokens(a) == await tokens(a) == [5, 6, 7]
    assert log == ["+a"]


async def test_least_recently_used_goes_first(log: list[str]) -> None:
    a, b, c = engines(log, 10, a=5, b=5, c=5)
    for engine in (a, b, a, c):
        await tokens(engine)
    assert log == ["+a", "+b", "-b", "+c"]


async def test_a_stream_in_flight_is_not_cut_and_new_requests_wait_their_turn(log: list[str]) -> None:
    a, b = engines(log, 10, a=10, b=10)
    async with aclosing(a.generate(request(1))) as stream:
        first = await anext(stream)
        other = asyncio.create_task(tokens(b))
        late = asyncio.create_task(tokens(a))
        await asyncio.sleep(0)
        rest = [token async for chunk in stream for token in chunk.token_ids]
    assert [*first.token_ids, *rest] == [5, 6, 7]
    assert await other == await late == [5, 6, 7]
    assert log == ["+a", "-a", "+b", "-b", "+a"]


async def test_deadline_passes_while_memory_is_busy(log: list[str]) -> None:
    a, b = engines(log, 10, a=10, b=10)
    async with aclosing(a.generate(request(1))) as stream:
        await anext(stream)
        with pytest.raises(DeadlineExceeded):
            await tokens(b, deadline=1.0)
        assert (await anext(stream)).token_ids == (6,)
    assert await tokens(a) == [5, 6, 7]
    assert log == ["+a"]


async def test_only_so_many_wait_for_a_load(log: list[str]) -> None:
    residency = Residency(10)
    a, b = (
        OnDemandEngine(Loads(name, log), 10, residency, EXPECTED, max_waiting=2, max_waiting_tokens=100)
        for name in "ab"
    )
    async with aclosing(a.generate(request(1))) as stream:
        await anext(stream)
        waiting = [asyncio.create_task(anext(b.generate(request(number)))) for number in (2, 3)]
        await asyncio.sleep(0)
        assert (await b.stats()).waiting == 2
        with pytest.raises(Overloaded) as refusal:
            await tokens(b)
        assert refusal.value.retry_after
    await asyncio.gather(*waiting)
    assert await tokens(b) == [5, 6, 7]
    assert (await b.stats()).waiting == 0


async def test_a_closed_engine_takes_no_room(log: list[str]) -> None:
    a, b, c = engines(log, 10, a=5, b=5, c=5)
    await tokens(a)
    await tokens(b)
    await b.close()
    await tokens(c)
    assert log == ["+a", "+b", "-b", "+c"], "a could stay"


def test_a_model_larger_than_the_budget_is_refused(log: list[str]) -> None:
    with pytest.raises(EngineFailed, match="11 bytes"):
        engines(log, 10, a=11)


async def test_info_is_as_expected_until_the_first_load(log: list[str]) -> None:
    (a,) = engines(log, 10, a=10)
    assert a.info.fingerprint == ""
    await tokens(a)
    assert a.info.fingerprint == "scripted"
