"""How many replicas there are: a fixed number, or as many as what is under way asks for, after a delay."""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol


class Scaler(Protocol):
    """Asked at every arrival."""

    most: int

    def count(self, now: float, under_way: int) -> int:
        """Replicas that serve now."""

    def replica_seconds(self, end: float) -> float:
        """What was paid for, from time 0 to `end`."""


class Fixed:
    """Always the same."""

    def __init__(self, count: int) -> None:
        self.most = count

    def count(self, now: float, under_way: int) -> int:
        """See `Scaler.count`."""
        return self.most

    def replica_seconds(self, end: float) -> float:
        """See `Scaler.replica_seconds`."""
        return self.most * end


class Autoscaler:
    """Every `interval` seconds: a replica for each `target` requests under way. New ones serve after `delay` and are paid for
    at once; surplus ones go after `patience` seconds of surplus, and end what they have.
    """

    def __init__(
        self,
        begin: int,
        limit: int,
        *,
        target: float,
        delay: float,
        interval: float = 5.0,
        patience: float = 60.0,
    ) -> None:
        self.most = begin
        self._now = begin
        self._limit = limit
        self._target = target
        self._delay = delay
        self._interval = interval
        self._patience = patience
        self._coming: deque[tuple[float, int]] = deque()
        self._next = 0.0
        self._surplus_since: float | None = None
        self._paid = 0.0
        self._paid_until = 0.0

    def count(self, now: float, under_way: int) -> int:
        """See `Scaler.count`."""
        self._pay(now)
        while self._coming and self._coming[0][0] <= now:
            self._now += self._coming.popleft()[1]
            self.most = max(self.most, self._now)
        if now >= self._next:
            self._next = now + self._interval
            self._decide(now, self.wanted(now, under_way))
        return self._now

    def wanted(self, now: float, under_way: int) -> int:
        """Replicas that there should be."""
        return math.ceil(under_way / self._target)

    def replica_seconds(self, end: float) -> float:
        """See `Scaler.replica_seconds`."""
        self._pay(end)
        return self._paid

    def _decide(self, now: float, wanted: int) -> None:
        wanted = max(1, min(self._limit, wanted))
        there = self._now + sum(number for _, number in self._coming)
        if wanted > there:
            self._coming.append((now + self._delay, wanted - there))
        if wanted >= self._now:
            self._surplus_since = None
        elif self._surplus_since is None:
            self._surplus_since = now
        elif now - self._surplus_since >= self._patience:
            self._now -= max(1, (self._now - wanted) // 4)
            self._surplus_since = now

    def _pay(self, now: float) -> None:
        there = self._now + sum(number for _, number in self._coming)
        self._paid += there * (now - self._paid_until)
        self._paid_until = now


class Forecaster(Autoscaler):
    """A replica for each `target` requests a second that will arrive once new ones serve: the rate of the last 30 seconds,
    and its rise since the 30 before them, drawn out over the delay. What is under way says nothing of that.
    """

    WINDOW = 30.0

    def __init__(self, begin: int, limit: int, *, target: float, delay: float) -> None:
        super().__init__(begin, limit, target=target, delay=delay)
        self._recent: deque[float] = deque()

    def count(self, now: float, under_way: int) -> int:
        """See `Scaler.count`."""
        self._recent.append(now)
        while self._recent[0] < now - 2 * self.WINDOW:
            self._recent.popleft()
        return super().count(now, under_way)

    def wanted(self, now: float, under_way: int) -> int:
        """Replicas that there should be by the time they are there."""
        if now < 2 * self.WINDOW:
            return self._now
        late = sum(1 for at in self._recent if at >= now - self.WINDOW)
        early = len(self._recent) - late
        rise = max(0.0, late - early) / self.WINDOW**2
        return math.ceil((late / self.WINDOW + rise * (self._delay + self.WINDOW / 2)) / self._target)
