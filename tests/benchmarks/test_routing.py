"""The routing scenario, one request at a time and steps counted, so that nothing hangs on time."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from benchmarks.scenarios.routing import ROUTERS, Workload, converse, replicas, tables

from chatwright.core.engine import Engine
from chatwright.core.generation import GenerationRequest
from chatwright.core.sampling import SamplingParams
from chatwright.engines.batching.engine import BatchingEngine
from chatwright.engines.batching.loop import LoopLimits
from chatwright.engines.batching.scheduler import SchedulerLimits
from chatwright.engines.batching.simulated import SimulatedRunner
from chatwright.engines.batching.speculation import SpeculationLimits
from chatwright.engines.replicas.routing import LeastLoaded

LOAD = Workload(users=9, at_once=1, turns=3, shared_prompts=2, shared=64, said=64, answer=8)


def engine(blocks: int = 128, running: int = 64, step_seconds: float = 0.0) -> Engine:
    limits = LoopLimits(
        scheduler=SchedulerLimits(max_sequences=running), speculation=SpeculationLimits(enabled=False)
    )
    return BatchingEngine(
        lambda: SimulatedRunner(context_length=2048, block_count=blocks, step_seconds=step_seconds), limits
    )


async def hits(name: str) -> float:
    make, named = ROUTERS[name]
    async with replicas(4, make(7), engine) as made:
        return (await converse(made, LOAD, 7, named=named))["hit_ratio"]


async def test_conversations_find_their_prefixes_again() -> None:
    found = {name: await hits(name) for name in ("random", "round robin", "cached prefix", "affinity")}
    best = max(found["random"], found["round robin"])
    assert found["cached prefix"] > 1.3 * best
    assert found["affinity"] > 1.3 * best


async def steps(count: int) -> int:
    """Of the replica that takes the longest."""

    async def one(number: int) -> None:
        request = GenerationRequest(f"r{number}", (number, 1, 2), SamplingParams(40, seed=1), reservation=43)
        async with aclosing(made.generate(request)) as chunks:
            assert sum([len(chunk.token_ids) async for chunk in chunks]) == 40

    async with replicas(count, LeastLoaded(), lambda: engine(running=4, step_seconds=0.001)) as made:
        await asyncio.gather(*(one(number) for number in range(32)))
        readings = [await member.engine.stats() for member in made.members.values()]
        return max(reading.steps for reading in readings)


async def test_two_replicas_need_half_the_steps_of_one() -> None:
    assert await steps(1) / await steps(2) > 1.9


def test_tables_say_how_much_a_replica_adds() -> None:
    row = {"hit_ratio": 0.5, "ttft_p50_ms": 1.0, "ttft_p95_ms": 2.0, "seconds": 3.0}
    data = {
        "workload": {name: getattr(LOAD, name) for name in Workload.__dataclass_fields__},
        "replicas": 4,
        "step_ms": 8.0,
        "token_ms": 0.2,
        "routers": dict.fromkeys(ROUTERS, row),
        "throughput": {"1": 100.0, "2": 195.0},
    }
    assert "| 2 | 195 | 1.95 |" in tables(data)
