"""One engine of a set: what it has been given, and whether it may get more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chatwright.core.engine import Engine
from chatwright.core.generation import GenerationRequest
from chatwright.engines.replicas.routing import Load, answer_tokens, prefill_tokens


class Member:
    """`requests` and `failures` count since it joined; `load` is what runs there for us now."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine
        self.requests = 0
        self.failures = 0
        self.load = Load()
        self.idle = asyncio.Event()
        self.idle.set()

    @contextmanager
    def serving(self, request: GenerationRequest) -> Iterator[Callable[[], None]]:
        """Count a request in, and out again whatever happens. Call what is yielded at its first token."""
        left = prefill_tokens(request) + answer_tokens(request)

        def begun() -> None:
            nonlocal left
            self._add(0, answer_tokens(request) - left)
            left = answer_tokens(request)

        self.requests += 1
        self._add(1, left)
        self.idle.clear()
        try:
            yield begun
        finally:
            self._add(-1, -left)
            if self.load.requests == 0:
                self.idle.set()

    def _add(self, requests: int, tokens: int) -> None:
        self.load = Load(self.load.requests + requests, self.load.tokens + tokens)
