"""One request, two engines: the client sees the answer that one would have given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engines.replicas.conftest import Breakable, collect, died, make_request, tokens_of

from chatwright.core.errors import (
    ChatwrightError,
    ContextNotFound,
    EngineFailed,
    InvalidValue,
    Overloaded,
    UnsupportedParameter,
)
from chatwright.core.generation import GenerationRequest, Handoff, TokenChunk
from chatwright.engines.batching.handoff import context_path
from chatwright.engines.replicas import pools as pools_module
from chatwright.engines.replicas.contexts import SharedFolder
from chatwright.engines.replicas.pools import PooledEngine

Make = Callable[..., Breakable]
CONTEXT = 77


class Pools:
    """Two engines in each pool, and one that knows the right answer."""

    def __init__(self, make: Make, folder: Path, **shapes: Any) -> None:
        self.whole = make(**shapes)
        self.prefill = {f"prefill-{number}": make(**shapes) for number in range(2)}
        self.decode = {f"decode-{number}": make(**shapes) for number in range(2)}
        self.engine = PooledEngine(
            self.prefill, self.decode, SharedFolder(folder), new_id=lambda: CONTEXT, patience=5.0
        )
        self.folder = folder

    def sent(self, pool: dict[str, Breakable]) -> list[GenerationRequest]:
        return [request for engine in pool.values() for request in engine.requests]

    async def agrees(self, request: GenerationRequest) -> list[TokenChunk]:
        """Both ways give the same; returns it."""
        expected, found = await collect(self.whole, request), await collect(self.engine, request)
        assert _summary(found) == _summary(expected)
        assert self.leftovers() == []
        return found

    def leftovers(self) -> list[str]:
        return [path.name for path in self.folder.iterdir()]


def _summary(chunks: list[TokenChunk]) -> dict[str, Any]:
    last = chunks[-1]
    assert all(chunk.finish is None for chunk in chunks[:-1])
    return {
        "tokens": tokens_of(chunks),
        "logprobs": [entry for chunk in chunks for entry in chunk.logprobs],
        "ending": (last.finish, last.stop_token, last.stop_token_is_eos),
        "cached": sum(chunk.cached_tokens for chunk in chunks),
    }


async def until_error(
    engine: PooledEngine, request: GenerationRequest
) -> tuple[list[int], ChatwrightError | None]:
    """The tokens of an answer, and what broke it off."""
    got: list[int] = []
    try:
        async for chunk in engine.generate(request):
            got += chunk.token_ids
    except (EngineFailed, Overloaded) as error:
        return got, error
    return got, None


@pytest.fixture
async def pools(make_engine: Make, folder: Path) -> AsyncIterator[Pools]:
    made = Pools(make_engine, folder)
    await asyncio.gather(made.whole.start(), made.engine.start())
    yield made
    await asyncio.gather(made.whole.close(), made.engine.close())
    assert made.engine.active == 0


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0.0},
        {"temperature": 1.0, "seed": 5},
        {"temperature": 0.0, "logprobs": 3},
        {"temperature": 1.0, "frequency_penalty": 1.5, "repetition_penalty": 1.3, "logprobs": 0},
        {"min_tokens": 9, "eos_token_ids": tuple(range(0, 64, 2))},
        {"eos_token_ids": tuple(range(64))},
        {"stop_token_ids": tuple(range(0, 64, 3)), "min_tokens": 2},
        {"max_tokens": 1},
        {"max_tokens": 2},
    ],
)
async def test_the_answer_is_that_of_one_engine(
    make_engine: Make, folder: Path, sampling: dict[str, Any], exact: bool
) -> None:
    pools = Pools(make_engine, folder, exact=exact)
    await asyncio.gather(pools.whole.start(), pools.engine.start())
    for salt in range(3):
        await pools.agrees(make_request(sampling=sampling, prompt=(salt, *range(3, 40))))
        await pools.agrees(make_request(sampling=sampling, prompt=(salt, *range(3, 40))))  # from the cache
    await asyncio.gather(pools.whole.close(), pools.engine.close())


async def test_each_pool_does_its_half(pools: Pools) -> None:
    await pools.agrees(make_request())
    prefilled = [await engine.stats() for engine in pools.prefill.values()]
    decoded = [await engine.stats() for engine in pools.decode.values()]
    assert sum(stats.prompt_tokens for stats in prefilled) == 37
    assert sum(stats.generated_tokens for stats in prefilled) == 1
    assert sum(stats.prompt_tokens for stats in decoded) == 0
    assert sum(stats.generated_tokens for stats in decoded) == 11
    assert (await pools.engine.stats()).generated_tokens == 12


async def test_an_answer_of_one_token_never_reaches_the_decode_pool(pools: Pools) -> None:
    await pools.agrees(make_request(max_tokens=1))
    await pools.agrees(make_request(sampling={"eos_token_ids": tuple(range(64))}))
    assert pools.sent(pools.decode) == []


async def test_many_at_once(pools: Pools) -> None:
    ids = iter(range(10**6))
    pools.engine._new_id = lambda: next(ids)
    requests = [make_request(f"r{number}", prompt=(number, 1, 2), max_tokens=20) for number in range(24)]
    expected = await asyncio.gather(*(collect(pools.whole, request) for request in requests))
    found = await asyncio.gather(*(collect(pools.engine, request) for request in requests))
    assert [_summary(one) for one in found] == [_summary(one) for one in expected]
    assert pools.leftovers() == []


async def test_grammars_go_on_where_the_first_half_left_them(
    make_engine: Make, folder: Path, grammar: tuple[Callable[[], Any], Any]
) -> None:
    constraints, source = grammar
    pools = Pools(lambda **shapes: make_engine(constraints=constraints(), **shapes), folder, vocab_size=49152)
    await asyncio.gather(pools.whole.start(), pools.engine.start())
    for seed in range(4):
        answer = await pools.agrees(
            make_request(grammar=source, max_tokens=40, sampling={"seed": seed, "eos_token_ids": (2,)})
        )
        assert answer[-1].finish == "stop"
    await asyncio.gather(pools.whole.close(), pools.engine.close())


# -- faults -----------------------------------------------------------------------------------------------------


async def test_a_prefill_that_dies_is_done_by_another(pools: Pools) -> None:
    dying = pools.prefill["prefill-0"]
    dying.faults = [(0, died())] * 8
    for number in range(8):
        await pools.agrees(make_request(f"r{number}", prompt=(number, *range(3, 40))))
    assert 0 < len(dying.requests) < 8
    assert len(pools.prefill["prefill-1"].requests) == 8


async def test_a_decode_that_dies_before_its_first_token_is_done_by_another(pools: Pools) -> None:
    for engine in pools.decode.values():
        engine.faults = [(0, died())]
    pools.decode["decode-1"].faults = []
    await pools.agrees(make_request("a"))
    await pools.agrees(make_request("b"))
    assert len(pools.sent(pools.prefill)) == 2, "the kept contexts were used again"


async def test_a_decode_pool_that_is_full_for_a_while_is_waited_for(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools_module, "PAUSE_SECONDS", 0.0)
    for engine in pools.decode.values():
        engine.faults = [(0, Overloaded("full", retry_after=9)), (0, Overloaded("full", retry_after=9))]
    await pools.agrees(make_request())


async def test_a_lost_context_is_computed_again(pools: Pools) -> None:
    first = pools.decode["decode-0"], pools.decode["decode-1"]
    lose = [True]

    def before() -> None:
        if lose:
            lose.clear()
            context_path(pools.folder, CONTEXT).unlink()

    for engine in first:
        engine.before = before
    await pools.agrees(make_request())
    assert len(pools.sent(pools.prefill)) == 2


async def test_an_answer_that_can_not_go_on_ends_with_an_error(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools_module, "PAUSE_SECONDS", 0.0)
    pools.engine._patience = 0.0
    for error in (Overloaded("full"), died()):
        for engine in pools.decode.values():
            engine.faults = [(0, error)] * 9
        chunks = pools.engine.generate(make_request(error.code))
        assert (await anext(chunks)).token_ids
        with pytest.raises(EngineFailed):
            await anext(chunks)
        assert pools.leftovers() == []


async def test_a_decode_that_dies_after_a_token_is_the_clients_to_hear(pools: Pools) -> None:
    for engine in pools.decode.values():
        engine.faults = [(3, died())]
    got, error = await until_error(pools.engine, make_request())
    assert isinstance(error, EngineFailed)
    assert got == tokens_of(await collect(pools.whole, make_request()))[:4]
    assert len(pools.sent(pools.decode)) == 1
    assert pools.leftovers() == []


@pytest.mark.parametrize("after", [0, 1, 2, 5])
async def test_an_abort_in_any_phase_leaves_nothing(
    pools: Pools, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatwright.engines.replicas.contexts.LATE_SECONDS", 1.0)
    got = asyncio.Event()

    async def read() -> None:
        count = 0
        async for _ in pools.engine.generate(make_request(max_tokens=200)):
            count += 1
            if count == after:
                got.set()
                await asyncio.Event().wait()

    reading = asyncio.create_task(read())
    while not pools.sent(pools.prefill):
        await asyncio.sleep(0)
    if after:
        await got.wait()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    for engine in (*pools.prefill.values(), *pools.decode.values()):
        await collect(engine, make_request("after", 1))  # its loop has taken in everything before this one
        assert (await engine.stats()).kv_blocks_used == 0
    async with asyncio.timeout(10):
        while pools.leftovers():  # a step that had begun may still have kept the context
            await asyncio.sleep(0.01)
    assert pools.engine.active == 0


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_faults_give_the_right_tokens_or_an_error(
    make_engine: Make, folder: Path, data: st.DataObject
) -> None:
    fault = st.tuples(st.integers(0, 3), st.sampled_from((died(), Overloaded("full"))))
    faults = {
        name: data.draw(st.lists(fault, max_size=3), label=name)
        for name in ("prefill-0", "prefill-1", "decode-0", "decode-1")
    }

    async def history() -> None:
        pools = Pools(make_engine, folder)
        await asyncio.gather(pools.whole.start(), pools.engine.start())
        expected = tokens_of(await collect(pools.whole, make_request()))
        for name, engine in (pools.prefill | pools.decode).items():
            engine.faults = faults[name]
        for number in range(4):
            got, error = await until_error(pools.engine, make_request(f"r{number}"))
            assert got == (expected if error is None else expected[: len(got)])
            assert error is None or isinstance(error, EngineFailed) or not got
            assert pools.leftovers() == []
        await asyncio.gather(pools.whole.close(), pools.engine.close())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools_module, "PAUSE_SECONDS", 0.0)
        asyncio.run(history())


# -- requests that bring their own halves -----------------------------------------------------------------------


async def test_halves_that_clients_ask_for_go_to_their_pools(pools: Pools) -> None:
    whole = tokens_of(await collect(pools.whole, make_request()))
    first = await collect(pools.engine, make_request(max_tokens=1, handoff=Handoff("context", 5)))
    assert first[-1].finish == "length"
    for _ in range(2):  # until it expires, again and again
        continuation = make_request(handoff=Handoff("continuation", 5, tuple(tokens_of(first))))
        rest = await collect(pools.engine, continuation)
        assert tokens_of(first) + tokens_of(rest) == whole
    assert {request.handoff.kind for request in pools.sent(pools.prefill) if request.handoff} == {"context"}
    assert len(pools.sent(pools.decode)) == 2
    with pytest.raises(ContextNotFound):
        await collect(pools.engine, make_request(handoff=Handoff("continuation", 6, (1,))))


async def test_clients_may_be_refused_what_pools_do_for_themselves(make_engine: Make, folder: Path) -> None:
    engine = PooledEngine(
        {"prefill": make_engine()}, {"decode": make_engine()}, SharedFolder(folder), serves_contexts=False
    )
    await engine.start()
    assert len(tokens_of(await collect(engine, make_request()))) == 12
    with pytest.raises(UnsupportedParameter):
        await collect(engine, make_request(max_tokens=1, handoff=Handoff("context", 5)))
    await engine.close()


async def test_a_request_that_no_engine_takes_is_refused_at_once(pools: Pools) -> None:
    with pytest.raises(InvalidValue):
        await collect(pools.engine, make_request(prompt=()))
    assert len(pools.sent(pools.prefill)) == 1


async def test_pools_of_two_builds_do_not_start(make_engine: Make, folder: Path) -> None:
    engine = PooledEngine(
        {"prefill": make_engine()}, {"decode": make_engine(vocab_size=32)}, SharedFolder(folder)
    )
    with pytest.raises(EngineFailed, match="vocab_size"):
        await engine.start()


@pytest.fixture
def grammar(default_model: Any) -> tuple[Callable[[], Any], Any]:
    """What engines follow grammars with, and one."""
    from chatwright.core.generation import Grammar
    from chatwright.engines.batching.constraint import Constraints
    from chatwright.grammar.build import build
    from chatwright.grammar.markup import Job
    from chatwright.grammar.matcher import Vocabulary

    vocabulary = Vocabulary(default_model.tokenizer.read_text(), 49152, [2])
    schema = {"type": "object", "properties": {"n": {"enum": ["one", "two"]}}, "required": ["n"]}
    schema["additionalProperties"] = False
    source = build(Job("json_schema", json.dumps(schema)), vocabulary.special, [2]).source
    return lambda: Constraints(lambda: vocabulary), Grammar("llguidance", source)
