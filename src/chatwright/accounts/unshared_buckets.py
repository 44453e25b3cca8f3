"""Buckets of a server that can't keep limits: several processes without a place that they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from chatwright.accounts.buckets import Charge, Decision
from chatwright.core.errors import Overloaded


class UnsharedBuckets:
    """Fails closed: who has a limit is refused, rather than let through once a process."""

    async def take(self, reservation: str, charges: Sequence[Charge]) -> Decision:
        """Raises Overloaded."""
        _refuse()

    async def give_back(self, reservation: str, charges: Sequence[Charge]) -> tuple[int, ...]:
        """Nothing was ever taken."""
        return (0,) * len(charges)

    async def look(self, charges: Sequence[Charge]) -> tuple[int, ...]:
        """Raises Overloaded."""
        _refuse()

    async def close(self) -> None:
        """Nothing to free."""


def _refuse() -> NoReturn:
    raise Overloaded(
        "This key has limits, and this server runs several processes without Redis to keep them."
    )
