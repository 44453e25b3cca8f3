"""The event loop: arrivals from the workload, changes of batches from a heap, and what came of it."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.scale.profile import Profile
from benchmarks.scale.replica import Replica
from benchmarks.scale.routers import Router
from benchmarks.scale.scaling import Fixed, Scaler
from benchmarks.scale.workload import Request, Workload, zipf


@dataclass
class Views:
    """What `routers` routers know of loads: the truth with `period` 0, else what it was at most `period` seconds ago, plus
    what each of them has sent since.
    """

    period: float = 0.0
    routers: int = 1
    _seen: list[list[int]] = field(default_factory=list)
    _totals: list[int] = field(default_factory=list)
    _due: float = 0.0
    _turn: int = 0

    def view(self, loads: list[int], total: int, now: float) -> tuple[list[int], int, int]:
        """Loads and their sum as the next router sees them, and which router that is."""
        if self.period == 0:
            return loads, total, -1
        if now >= self._due:
            self._seen = [list(loads) for _ in range(self.routers)]
            self._totals = [total] * self.routers
            self._due = now + self.period
        self._turn = (self._turn + 1) % self.routers
        return self._seen[self._turn], self._totals[self._turn], self._turn

    def sent(self, router: int, place: int) -> None:
        """A router counts what it sends itself."""
        if router >= 0:
            self._seen[router][place] += 1
            self._totals[router] += 1


@dataclass
class Outcome:
    """What became of every request. `gaps` counts tokens by their step's milliseconds."""

    requests: list[Request]
    shed: int
    gaps: dict[int, float]
    replica_seconds: float
    seconds: float
    most_replicas: int
    """`seconds` is how long requests came in, and what `replica_seconds` covers."""

    def summary(self, warm_up: float = 0.0) -> dict[str, Any]:
        """Seconds and shares of the requests that came after `warm_up`; tokens made from then to the last arrival."""
        counted = [r for r in self.requests if r.arrived >= warm_up and r.first is not None]
        ttft = np.array([r.first - r.arrived for r in counted if r.first is not None])
        made = (r for r in self.requests if r.finished is not None and warm_up <= r.finished <= self.seconds)
        tokens = sum(r.output for r in made)
        counted_seconds = self.seconds - warm_up
        prompt = sum(r.prompt for r in counted)
        hours = self.replica_seconds / 3600 * counted_seconds / self.seconds
        return {
            "requests": len(self.requests) + self.shed,
            "shed": self.shed,
            "replicas": self.most_replicas,
            "ttft_p50": float(np.quantile(ttft, 0.5)),
            "ttft_p99": float(np.quantile(ttft, 0.99)),
            "ttft_p999": float(np.quantile(ttft, 0.999)),
            "itl_p50_ms": _quantile(self.gaps, 0.5),
            "itl_p99_ms": _quantile(self.gaps, 0.99),
            "cached_share": sum(r.cached for r in counted) / prompt if prompt else 0.0,
            "tokens_per_s": tokens / counted_seconds,
            "replica_hours_per_million_tokens": hours / (tokens / 1e6),
        }


def _quantile(counts: dict[int, float], share: float) -> float:
    left = share * sum(counts.values())
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return float(value)
    return 0.0


def simulate(
    profile: Profile,
    workload: Workload,
    router: Router,
    replicas: int,
    *,
    seed: int,
    views: Views | None = None,
    scaler: Scaler | None = None,
    warm: int = 0,
    warmed_by: Router | None = None,
) -> Outcome:
    """Serve the workload to its last request. `replicas` is the most there can be; `scaler` says how many there are. Caches
    begin with the prefixes of `warm` earlier requests for each replica, sent by `warmed_by`.
    """
    views, scaler = views or Views(), scaler or Fixed(replicas)
    gaps: dict[int, float] = {}
    fleet = [Replica(profile, gaps) for _ in range(replicas)]
    loads = [0] * replicas
    events: list[tuple[float, int, int]] = []
    taken: list[Request] = []
    shed = total = 0

    def plan(place: int) -> None:
        replica = fleet[place]
        replica.version += 1
        heapq.heappush(events, (replica.next_event(), place, replica.version))

    def run_until(limit: float) -> None:
        nonlocal total
        while events and events[0][0] <= limit:
            at, place, version = heapq.heappop(events)
            if version != fleet[place].version or at == float("inf"):
                continue
            done = len(fleet[place].happen(at))
            loads[place] -= done
            total -= done
            plan(place)

    rng = np.random.default_rng(seed)
    _warm(fleet, workload, warmed_by or router, warm * replicas, np.random.default_rng(seed + 1))
    for request in workload.requests(rng):
        now = request.arrived
        run_until(now)
        count = scaler.count(now, total)
        seen, known, number = views.view(loads, total, now)
        place = router.choose(request, seen, count, known)
        if not fleet[place].arrive(request, now):
            shed += 1
            continue
        views.sent(number, place)
        taken.append(request)
        loads[place] += 1
        total += 1
        plan(place)
    paid = scaler.replica_seconds(workload.seconds)
    run_until(1e18)
    return Outcome(taken, shed, gaps, paid, workload.seconds, scaler.most)


def _warm(
    fleet: list[Replica], workload: Workload, router: Router, count: int, rng: np.random.Generator
) -> None:
    idle = [0] * len(fleet)
    tokens = workload.lengths.shared
    for key in zipf(rng, workload.keys, workload.exponent, count).tolist():
        place = router.choose(Request(0, key, 0, tokens, 0), idle, len(fleet), 0)
        fleet[place].remember(key, tokens)
