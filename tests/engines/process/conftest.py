"""Real engine processes with the simulated runner, and a check that nothing of them is left."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from chatwright.core.generation import GenerationRequest
from chatwright.core.sampling import SamplingParams
from chatwright.engines.batching.loop import LoopLimits
from chatwright.engines.process.client import ProcessEngine
from chatwright.engines.process.options import EngineOptions


def options(
    *,
    limits=None,
    context_length=2048,
    kv_bytes=1 << 20,
    kind="simulated",
    reproducible=True,
    **numbers,
) -> EngineOptions:
    return EngineOptions(
        kind,
        "",
        context_length,
        1,
        kv_bytes,
        limits or LoopLimits(),
        reproducible=reproducible,
        simulated=numbers,
    )


def request(name: str, max_tokens: int = 8, prompt=(1, 2, 3), **fields) -> GenerationRequest:
    sampling = SamplingParams(max_tokens=max_tokens, seed=5)
    return GenerationRequest(name, tuple(prompt), sampling, reservation=len(prompt) + max_tokens, **fields)


async def collect(engine: ProcessEngine, wanted: GenerationRequest) -> list[int]:
    return [token async for chunk in engine.generate(wanted) for token in chunk.token_ids]


async def gone(pid: int) -> None:
    """Returns once this process, not necessarily a child of ours, has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), 30)
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


class Engines:
    """Starts engines; `ready` counts how often one has become ready."""

    def __init__(self) -> None:
        self.engines: list[ProcessEngine] = []
        self.greeted: asyncio.Queue[tuple] = asyncio.Queue()

    def make(self, *, silence_seconds: float = 60.0, on_ready=None, **numbers) -> ProcessEngine:
        def ready(info, warnings):
            if on_ready is not None:
                on_ready()
            self.greeted.put_nowait((info, warnings))

        engine = ProcessEngine(options(**numbers), on_ready=ready, silence_seconds=silence_seconds)
        self.engines.append(engine)
        return engine

    async def start(self, **numbers) -> ProcessEngine:
        engine = self.make(**numbers)
        await engine.start()
        await self.greeted.get()
        return engine

    async def ready_again(self) -> None:
        await asyncio.wait_for(self.greeted.get(), 60)


@pytest.fixture
async def engines():
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    made = Engines()
    yield made
    for engine in made.engines:
        pid = engine.pid
        await engine.close()
        assert engine.pid is None
        assert not engine.ready
        assert pid is None or not Path(f"/proc/{pid}").exists()
    await asyncio.sleep(0)
    assert len(list(Path("/proc/self/fd").iterdir())) <= open_before
