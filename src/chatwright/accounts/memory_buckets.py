"""Buckets of one process."""

from __future__ import annotations

import time
from collections.abc import Sequence

from chatwright.accounts.buckets import BucketKind, Charge, Decision, cost, drained, fits
from chatwright.accounts.clock import Clock

_SWEEP_EVERY = 4096


def monotonic_ms() -> int:
    """Whole milliseconds of a clock that nobody sets."""
    return time.monotonic_ns() // 1_000_000


class MemoryBuckets:
    """Levels in a dict. Each method runs to its end without awaiting, so it is atomic on its event loop."""

    def __init__(self, clock: Clock = monotonic_ms) -> None:
        self._clock = clock
        self._levels: dict[tuple[str, BucketKind], tuple[Charge, int, int]] = {}  # last charge, level, when
        self._takes = 0

    async def take(self, reservation: str, charges: Sequence[Charge]) -> Decision:
        """Charge every bucket, or none."""
        now = self._clock()
        self._sweep(now)
        levels = [self._level(charge, now) for charge in charges]
        admitted = all(fits(charge, level) for charge, level in zip(charges, levels, strict=True))
        if admitted:
            levels = [level + cost(charge) for charge, level in zip(charges, levels, strict=True)]
            self._keep(charges, levels, now)
        return Decision(admitted, tuple(levels))

    async def give_back(self, reservation: str, charges: Sequence[Charge]) -> tuple[int, ...]:
        """Take amounts off again; a bucket never holds less than nothing."""
        now = self._clock()
        levels = [max(0, self._level(charge, now) - cost(charge)) for charge in charges]
        self._keep(charges, levels, now)
        return tuple(levels)

    async def look(self, charges: Sequence[Charge]) -> tuple[int, ...]:
        """The levels now."""
        now = self._clock()
        return tuple(self._level(charge, now) for charge in charges)

    async def close(self) -> None:
        """Forget every level."""
        self._levels.clear()

    def _level(self, charge: Charge, now: int) -> int:
        kept = self._levels.get((charge.subject, charge.kind))
        return 0 if kept is None else drained(charge, kept[1], now - kept[2])

    def _keep(self, charges: Sequence[Charge], levels: Sequence[int], now: int) -> None:
        for charge, level in zip(charges, levels, strict=True):
            self._levels[charge.subject, charge.kind] = (charge, level, now)

    def _sweep(self, now: int) -> None:
        """Forget empty buckets now and then: an absent one is an empty one."""
        self._takes += 1
        if self._takes % _SWEEP_EVERY == 0:
            kept = self._levels.items()
            self._levels = {name: entry for name, entry in kept if self._level(entry[0], now) > 0}
