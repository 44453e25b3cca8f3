"""Real engine loops over simulated kernels, in this process, that hand contexts over through one folder."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from chatwright.core.engine import Engine, EngineInfo, EngineStats
from chatwright.core.errors import ChatwrightError, EngineFailed
from chatwright.core.generation import GenerationRequest, TokenChunk
from chatwright.core.sampling import SamplingParams
from chatwright.engines.batching.constraint import Constraints
from chatwright.engines.batching.engine import BatchingEngine
from chatwright.engines.batching.simulated import SimulatedRunner

VOCABULARY = 64


class Breakable:
    """Another engine with `faults`, each for one request: raised instead of its chunk of that number."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.faults: list[tuple[int, ChatwrightError]] = []
        self.requests: list[GenerationRequest] = []
        self.before: Callable[[], None] = lambda: None

    @property
    def info(self) -> EngineInfo:
        return self.engine.info

    @property
    def ready(self) -> bool:
        return self.engine.ready

    @property
    def active(self) -> int:
        return self.engine.active

    async def start(self) -> None:
        await self.engine.start()

    async def close(self) -> None:
        await self.engine.close()

    async def stats(self) -> EngineStats:
        return await self.engine.stats()

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
        self.requests.append(request)
        self.before()
        fault = self.faults.pop(0) if self.faults else None
        number = 0
        async with aclosing(self.engine.generate(request)) as chunks:
            async for chunk in chunks:
                if fault is not None and number == fault[0]:
                    raise fault[1]
                yield chunk
                number += 1


def died() -> EngineFailed:
    return EngineFailed("it died")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "contexts"


@pytest.fixture
def make_engine(folder: Path) -> Callable[..., Breakable]:
    """Engines of one build."""

    def make(
        *,
        exact: bool = True,
        step_seconds: float = 0.0,
        constraints: Constraints | None = None,
        **shapes: int,
    ) -> Breakable:
        def runner() -> SimulatedRunner:
            chosen = {"vocab_size": VOCABULARY, "block_size": 4, "block_count": 256, **shapes}
            return SimulatedRunner(**chosen, exact_recompute=exact, step_seconds=step_seconds)  # type: ignore[arg-type]

        return Breakable(BatchingEngine(runner, constraints=constraints, handoff_folder=folder))

    return make


def make_request(name: str = "r", max_tokens: int = 12, **fields: object) -> GenerationRequest:
    sampling = SamplingParams(
        **{"max_tokens": max_tokens, "seed": 11, "top_k": 0, **fields.pop("sampling", {})}
    )  # type: ignore
    prompt = fields.pop("prompt", tuple(range(3, 40)))
    return GenerationRequest(name, prompt, sampling, reservation=60, **fields)  # type: ignore[arg-type]


async def collect(engine: Engine, request: GenerationRequest) -> list[TokenChunk]:
    async with aclosing(engine.generate(request)) as chunks:
        return [chunk async for chunk in chunks]


def tokens_of(chunks: list[TokenChunk]) -> list[int]:
    return [token for chunk in chunks for token in chunk.token_ids]
