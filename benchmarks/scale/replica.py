"""One replica between events: while its batch stays the same, all its sequences advance at one rate."""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque

from benchmarks.scale.profile import Profile
from benchmarks.scale.workload import Request

NEVER = float("inf")


class Replica:
    """Continuous batching in closed form: prefill one prompt after another in chunks beside all that decode.

    `tokens` is how far each decoding sequence has come since the start of time, so that one heap of finishing points serves
    all. `gaps` counts generated tokens by the length of their step in milliseconds.
    """

    def __init__(self, profile: Profile, gaps: dict[int, float]) -> None:
        self._profile = profile
        self._gaps = gaps
        self._waiting: deque[Request] = deque()
        self._prefills: deque[Request] = deque()
        self._left = 0.0
        self._decoding: list[tuple[float, int, Request]] = []
        self._tokens = 0.0
        self._at = 0.0
        self._order = 0
        self._running = 0
        self._held = 0.0
        self._prefixes: OrderedDict[int, float] = OrderedDict()
        self._prefix_tokens = 0.0
        self.version = 0

    @property
    def load(self) -> int:
        """Requests that run or wait."""
        return self._running + len(self._waiting)

    def arrive(self, request: Request, now: float) -> bool:
        """Take a request; False where the waiting room is full."""
        self._advance(now)
        if len(self._waiting) >= self._profile.waiting:
            return False
        self._waiting.append(request)
        self._admit(now)
        return True

    def next_event(self) -> float:
        """When its batch changes by itself."""
        step = self._step()
        prefill = self._at + self._left * step / self._profile.chunk if self._prefills else NEVER
        decode = self._at + (self._decoding[0][0] - self._tokens) * step if self._decoding else NEVER
        return min(prefill, decode)

    def happen(self, now: float) -> list[Request]:
        """Let the event that is due happen; the requests that it finished."""
        self._advance(now)
        if self._prefills and self._left <= 1e-6:
            self._prefilled(now)
        finished = []
        while self._decoding and self._decoding[0][0] <= self._tokens + 1e-6:
            request = heapq.heappop(self._decoding)[2]
            request.finished = now
            self._running -= 1
            self._held -= request.prompt + request.output
            finished.append(request)
        self._admit(now)
        return finished

    def _step(self) -> float:
        return self._profile.step(len(self._decoding), self._profile.chunk if self._prefills else 0)

    def _advance(self, now: float) -> None:
        passed = now - self._at
        if passed > 0:
            step = self._step()
            steps = passed / step
            if self._decoding:
                self._tokens += steps
                bucket = round(step * 1e3)
                self._gaps[bucket] = self._gaps.get(bucket, 0.0) + steps * len(self._decoding)
            if self._prefills:
                self._left -= steps * self._profile.chunk
        self._at = now

    def _admit(self, now: float) -> None:
        profile = self._profile
        while self._waiting and self._running < profile.slots:
            request = self._waiting[0]
            need = request.prompt + request.output
            if self._held + need > profile.kv_tokens and self._running:
                return
            self._waiting.popleft()
            self._held += need
            self._running += 1
            request.started = now
            request.cached = self._recall(request)
            if request.prompt - request.cached <= 0:
                request.first = now
                self._decode(request, request.output)
                continue
            self._prefills.append(request)
            if len(self._prefills) == 1:
                self._left = request.prompt - request.cached

    def _prefilled(self, now: float) -> None:
        request = self._prefills.popleft()
        request.first = now
        if self._prefills:
            self._left = self._prefills[0].prompt - self._prefills[0].cached
        self._decode(request, request.output - 1)

    def _decode(self, request: Request, tokens: float) -> None:
        self._order += 1
        heapq.heappush(self._decoding, (self._tokens + tokens, self._order, request))

    def _recall(self, request: Request) -> float:
        """Prefix tokens that are cached."""
        return self.remember(request.key, request.shared) if request.shared else 0.0

    def remember(self, key: int, tokens: float) -> float:
        """Cache a key's prefix, giving up those least recently used; what was cached of it before."""
        known = self._prefixes.pop(key, 0.0)
        self._prefixes[key] = tokens
        self._prefix_tokens += tokens - known
        while self._prefix_tokens > self._profile.cache_tokens:
            self._prefix_tokens -= self._prefixes.popitem(last=False)[1]
        return known
