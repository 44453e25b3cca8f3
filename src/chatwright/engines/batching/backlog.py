"""What has been submitted and not yet run: counted where it comes in, so that a full queue is told at once."""

from __future__ import annotations

import threading

from chatwright.core.errors import EngineFailed, InternalError
from chatwright.core.generation import GenerationRequest
from chatwright.engines.room import Room

SMOOTHING = 0.1
RETRY_SECONDS = (1.0, 60.0)


class Backlog:
    """Thread-safe. `requests` and `tokens` (of their prompts) wait for their first step."""

    def __init__(self, max_requests: int, max_tokens: int) -> None:
        self.requests = 0
        self.tokens = 0
        self._max_requests = max_requests
        self._max_tokens = max_tokens
        self._ids: set[str] = set()
        self._closed: EngineFailed | None = None
        self._tokens_per_second = 1000.0
        self._lock = threading.Lock()

    def enter(self, request: GenerationRequest) -> None:
        """Count a request in. Raises Overloaded where too much waits, EngineFailed once closed, InternalError for
        an id in use.
        """
        tokens = len(request.prompt_token_ids)
        with self._lock:
            if self._closed is not None:
                raise self._closed
            if request.id in self._ids:
                raise InternalError("Another request with the same id is being served.")
            refusal = self._room().refusal(request.waiting_share, tokens)
            if refusal is not None:
                raise refusal
            self._ids.add(request.id)
            self.requests += 1
            self.tokens += tokens

    @property
    def room(self) -> Room:
        """How full it is."""
        with self._lock:
            return self._room()

    def _room(self) -> Room:
        least, most = RETRY_SECONDS
        wait = min(most, max(least, self.tokens / self._tokens_per_second))
        return Room(self.requests, self.tokens, self._max_requests, self._max_tokens, wait)

    def start(self, request: GenerationRequest) -> None:
        """Its first step has run."""
        with self._lock:
            self._unqueue(request)

    def leave(self, request: GenerationRequest, *, started: bool) -> None:
        """It has ended, however it did."""
        with self._lock:
            self._ids.discard(request.id)
            if not started:
                self._unqueue(request)

    def _unqueue(self, request: GenerationRequest) -> None:
        self.requests -= 1
        self.tokens -= len(request.prompt_token_ids)

    def close(self, reason: EngineFailed) -> None:
        """Refuse whatever comes from now on; the first reason stays."""
        with self._lock:
            self._closed = self._closed or reason

    def observe(self, prompt_tokens: int, seconds: float) -> None:
        """Learn how fast prompts are taken in, for what `retry_after` says."""
        if prompt_tokens and seconds > 0:
            self._tokens_per_second += SMOOTHING * (prompt_tokens / seconds - self._tokens_per_second)
