"""How much a server has to do: our own counts, and its metrics."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import msgspec

from chatwright.core.engine import EngineStats
from chatwright.core.generation import GenerationRequest, TokenChunk
from chatwright.engines.remote.metrics import Samples, read_samples

FRESH_SECONDS = 1.0


class Load:
    """`interpret` reads the metrics of a page that `fetch` gets, at most once a second."""

    def __init__(
        self,
        interpret: Callable[[Samples], EngineStats],
        fetch: Callable[[], Awaitable[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interpret = interpret
        self._fetch = fetch
        self._clock = clock
        self._told: tuple[float, EngineStats] | None = None
        self._chunks = self._generated = self._prompts = self._cached = self._aborted = 0
        self.running = 0

    @contextmanager
    def counting(self, request: GenerationRequest) -> Iterator[Callable[[TokenChunk], None]]:
        """Count a request and, with what this gives, its chunks."""
        ended = False

        def count(chunk: TokenChunk) -> None:
            nonlocal ended
            ended = chunk.finish is not None
            self._chunks += 1
            self._generated += len(chunk.token_ids)
            self._cached += chunk.cached_tokens

        self.running += 1
        self._prompts += len(request.prompt_token_ids)
        try:
            yield count
        finally:
            self.running -= 1
            self._aborted += not ended

    def ours(self) -> EngineStats:
        """What this process knows. A step is a chunk that came: one step of the server's may give several requests one."""
        return EngineStats(
            running=self.running,
            steps=self._chunks,
            generated_tokens=self._generated,
            prompt_tokens=self._prompts,
            cached_tokens=self._cached,
            aborted=self._aborted,
        )

    async def stats(self) -> EngineStats:
        """Both. What runs and waits is the server's word, which counts other clients' requests too."""
        now = self._clock()
        if self._told is None or now - self._told[0] > FRESH_SECONDS:
            self._told = (now, self._interpret(read_samples(await self._fetch())))
        told, ours = self._told[1], self.ours()
        return msgspec.structs.replace(
            ours,
            running=told.running or ours.running,
            waiting=told.waiting,
            kv_blocks_used=told.kv_blocks_used,
            kv_blocks_total=told.kv_blocks_total,
            preemptions=told.preemptions,
        )
