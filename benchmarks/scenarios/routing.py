"""What routing is worth: prompt tokens found in a cache, and what a second replica adds. Simulated kernels, real caches."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import numpy as np

from benchmarks.bench import SMOKE, Bench
from benchmarks.tables import number, percent, table
from chatwright.core.engine import Engine
from chatwright.core.generation import GenerationRequest
from chatwright.core.sampling import SamplingParams
from chatwright.engines.batching.engine import BatchingEngine
from chatwright.engines.batching.loop import LoopLimits
from chatwright.engines.batching.scheduler import SchedulerLimits
from chatwright.engines.batching.simulated import SimulatedRunner
from chatwright.engines.batching.speculation import SpeculationLimits
from chatwright.engines.process.client import ProcessEngine
from chatwright.engines.process.options import EngineOptions
from chatwright.engines.replicas.replica_set import ReplicaSet
from chatwright.engines.replicas.routing import CacheAwareRouter, LeastLoaded, Load, Router

TITLE = "Replicas and routing"
REPLICAS, VOCABULARY = 4, 512
STEP_SECONDS, ROW_SECONDS = 0.008, 0.0002


@dataclass(frozen=True)
class Workload:
    """Conversations in tokens: each begins with one of the shared prompts; a turn adds what a user says and the answer.

    `blocks` of 16 tokens are each replica's cache: enough for its own share of all conversations, not for everybody's.
    """

    users: int = 64
    at_once: int = 16
    turns: int = 5
    shared_prompts: int = 8
    shared: int = 256
    said: int = 128
    answer: int = 32
    blocks: int = 1300


FULL_LOAD = Workload()
SMOKE_LOAD = Workload(users=8, at_once=4, turns=2, shared_prompts=2, blocks=520)


class RandomRouter(LeastLoaded):
    """Any."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def choose(self, request: GenerationRequest, loads: Mapping[str, Load]) -> str:
        return self._random.choice(sorted(loads))


class RoundRobin(LeastLoaded):
    """One after the other."""

    def __init__(self) -> None:
        self._count = 0

    def choose(self, request: GenerationRequest, loads: Mapping[str, Load]) -> str:
        self._count += 1
        return sorted(loads)[self._count % len(loads)]


ROUTERS: dict[str, tuple[Callable[[int], Router], bool]] = {
    "random": (RandomRouter, False),
    "round robin": (lambda _: RoundRobin(), False),
    "least loaded": (lambda _: LeastLoaded(), False),
    "cached prefix": (lambda _: CacheAwareRouter(), False),
    "affinity": (lambda _: CacheAwareRouter(), True),
}
"""Each with whether the clients name their conversations."""


def in_this_process(blocks: int) -> Engine:
    """An engine that steps in a thread of its own."""

    def runner() -> SimulatedRunner:
        return SimulatedRunner(
            vocab_size=VOCABULARY, block_count=blocks, step_seconds=STEP_SECONDS, row_seconds=ROW_SECONDS
        )

    return BatchingEngine(runner, LoopLimits(speculation=SpeculationLimits(enabled=False)))


def in_its_own(running: int) -> Engine:
    """An engine process that runs so many sequences at once."""
    limits = LoopLimits(
        scheduler=SchedulerLimits(max_sequences=running), speculation=SpeculationLimits(enabled=False)
    )
    numbers = {"vocab_size": VOCABULARY, "step_seconds": STEP_SECONDS, "row_seconds": ROW_SECONDS}
    options = EngineOptions("simulated", "", 1024, threads=1, kv_bytes=1 << 20, limits=limits)
    return ProcessEngine(msgspec.structs.replace(options, simulated=numbers))


@asynccontextmanager
async def replicas(count: int, router: Router, make: Callable[[], Engine]) -> AsyncIterator[ReplicaSet]:
    """A started set."""
    made = ReplicaSet({f"replica-{place}": make() for place in range(count)}, router=router)
    await made.start()
    try:
        yield made
    finally:
        await made.close()


async def converse(engine: Engine, load: Workload, seed: int, *, named: bool) -> dict[str, float]:
    """All conversations, `at_once` of them at a time."""
    draw = random.Random(seed)
    shared = [_tokens(draw, load.shared) for _ in range(load.shared_prompts)]
    places = asyncio.Semaphore(load.at_once)
    prompts, cached, waits = 0, 0, []

    async def turn(user: int, number: int, prompt: tuple[int, ...]) -> tuple[int, ...]:
        nonlocal prompts, cached
        request = GenerationRequest(
            f"u{user}t{number}",
            prompt,
            SamplingParams(load.answer, seed=user),
            reservation=len(prompt) + load.answer,
            affinity=f"user {user}" if named else "",
        )
        began, first, answer = time.perf_counter(), None, []
        async with aclosing(engine.generate(request)) as chunks:
            async for chunk in chunks:
                first = first or time.perf_counter()
                cached += chunk.cached_tokens
                answer += chunk.token_ids
        prompts += len(prompt)
        waits.append((first or began) - began)
        return (*prompt, *answer)

    async def user(number: int) -> None:
        mine = random.Random(f"{seed} {number}")
        said = shared[number % len(shared)]
        for count in range(load.turns):
            said = (*said, *_tokens(mine, load.said))
            async with places:  # between turns others have theirs
                said = await turn(number, count, said)

    began = time.perf_counter()
    await asyncio.gather(*(user(number) for number in range(load.users)))
    return {
        "hit_ratio": cached / prompts,
        "ttft_p50_ms": 1000 * float(np.percentile(waits, 50)),
        "ttft_p95_ms": 1000 * float(np.percentile(waits, 95)),
        "seconds": time.perf_counter() - began,
    }


async def throughput(count: int, requests: int, new: int, running: int) -> float:
    """Tokens a second of `count` replicas with more requests than they can run at once."""

    async def one(number: int) -> int:
        request = GenerationRequest(
            f"r{number}",
            _tokens(random.Random(number), 32),
            SamplingParams(new, seed=1),
            reservation=32 + new,
        )
        async with aclosing(made.generate(request)) as chunks:
            return sum([len(chunk.token_ids) async for chunk in chunks])

    async with replicas(count, CacheAwareRouter(), partial(in_its_own, running)) as made:
        began = time.perf_counter()
        tokens = await asyncio.gather(*(one(number) for number in range(requests)))
        return sum(tokens) / (time.perf_counter() - began)


def _tokens(draw: random.Random, count: int) -> tuple[int, ...]:
    return tuple(draw.randrange(VOCABULARY) for _ in range(count))


async def measure(bench: Bench) -> dict[str, Any]:
    """Every router in turn, round by round; then one, two and four replicas."""
    smoke = bench.scale == SMOKE
    load, rounds = (SMOKE_LOAD, 1) if smoke else (FULL_LOAD, bench.scale.rounds)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ROUTERS}
    for seed in range(rounds):
        for name, (make, named) in ROUTERS.items():
            async with replicas(REPLICAS, make(seed), partial(in_this_process, load.blocks)) as made:
                found[name].append(await converse(made, load, seed, named=named))
    speeds: dict[str, list[float]] = {str(count): [] for count in (1, 2, REPLICAS)}
    for _ in range(rounds):
        for count, values in speeds.items():
            values.append(await throughput(int(count), requests=8 if smoke else 128, new=48, running=8))
    return {
        "workload": {name: getattr(load, name) for name in Workload.__dataclass_fields__},
        "replicas": REPLICAS,
        "step_ms": 1000 * STEP_SECONDS,
        "token_ms": 1000 * ROW_SECONDS,
        "routers": {
            name: {key: float(np.median([row[key] for row in rows])) for key in rows[0]}
            for name, rows in found.items()
        },
        "throughput": {count: float(np.median(values)) for count, values in speeds.items()},
    }


def tables(data: dict[str, Any]) -> str:
    """Two tables, and what was sent."""
    load, speeds = data["workload"], data["throughput"]
    routers = (
        (
            name,
            percent(row["hit_ratio"]),
            *(number(row[key]) for key in ("ttft_p50_ms", "ttft_p95_ms", "seconds")),
        )
        for name, row in data["routers"].items()
    )
    replicas = ((count, number(speed), f"{speed / speeds['1']:.2f}") for count, speed in speeds.items())
    return "\n".join(
        (
            f"{load['users']} conversations of {load['turns']} turns, {load['at_once']} at once, on {data['replicas']}"
            f" replicas: one of {load['shared_prompts']} shared prompts of {load['shared']} tokens, {load['said']} more each"
            f" turn, answers of {load['answer']}. A replica's cache holds {16 * load['blocks']:,} tokens. The kernels are"
            f" simulated: {data['step_ms']:g} ms a step and {data['token_ms']:g} ms a token; loops,"
            " schedulers and caches are real.\n",
            table(
                ("routing", "prompt tokens from a cache", "TTFT p50, ms", "TTFT p95, ms", "seconds in all"),
                routers,
            ),
            table(("replicas, 8 streams each", "tokens/s", "of one"), replicas),
        )
    )
