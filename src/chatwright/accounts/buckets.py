"""What a rate limit is: leaky buckets as meters (ITU-T I.371 annex A), exact in integers.

A bucket holds what was used and not yet drained, in units of 1/60000 of a request or token. Per millisecond
`limit` units drain, so a full bucket (60000 * limit) is empty after a minute: a fresh key may use its limit
at once and then at the rate of the limit. Over T minutes it uses at most limit * (1 + T). A concurrency
bucket holds the number of requests that run and drains only by giving back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

BucketKind = Literal["requests", "tokens", "concurrency"]

UNITS = 60_000
"""Units of one request or token; also the milliseconds in which `limit` of them drain."""

_CONCURRENCY_RETRY_MS = 1000  # nobody knows when a running request ends


class Charge(NamedTuple):
    """`amount` requests or tokens for the bucket of `subject`: "key:...", "project:..." or "model:..."."""

    subject: str
    kind: BucketKind
    limit: int
    amount: int


class BucketState(msgspec.Struct, frozen=True):
    """How full a bucket is, in requests or tokens. It is empty, with nothing used, after `reset_ms`."""

    limit: int
    remaining: int
    reset_ms: int


class Decision(msgspec.Struct, frozen=True):
    """`levels` are those of the charged buckets in order: with the charges if admitted, else untouched."""

    admitted: bool
    levels: tuple[int, ...]


class Buckets(Protocol):
    """Where the levels are kept: in this process, or shared by several."""

    async def take(self, reservation: str, charges: Sequence[Charge]) -> Decision:
        """Charge every bucket, or none where one would overflow.

        Raises Overloaded where the levels can't be reached.
        """

    async def give_back(self, reservation: str, charges: Sequence[Charge]) -> tuple[int, ...]:
        """Take `amount` off again; a negative one adds. The levels then. Raises Overloaded like `take`."""

    async def look(self, charges: Sequence[Charge]) -> tuple[int, ...]:
        """The levels now. Raises Overloaded like `take`."""

    async def close(self) -> None:
        """Free connections."""


def cost(charge: Charge) -> int:
    """The charge in the units of its bucket's level."""
    return charge.amount if charge.kind == "concurrency" else charge.amount * UNITS


def capacity(charge: Charge) -> int:
    """The level at which the charge's bucket is full."""
    return charge.limit if charge.kind == "concurrency" else charge.limit * UNITS


def fits(charge: Charge, level: int) -> bool:
    """Whether the bucket can hold the charge."""
    return level + cost(charge) <= capacity(charge)


def drained(charge: Charge, level: int, elapsed_ms: int) -> int:
    """The level after a time without charges."""
    return level if charge.kind == "concurrency" else max(0, level - charge.limit * max(0, elapsed_ms))


def wait_ms(charge: Charge, level: int) -> int | None:
    """The whole milliseconds until the charge fits, 0 if it does, None if it never will."""
    over = level + cost(charge) - capacity(charge)
    if over <= 0:
        return 0
    if charge.amount > charge.limit or charge.limit == 0:
        return None
    return _CONCURRENCY_RETRY_MS if charge.kind == "concurrency" else -(-over // charge.limit)


def state(charge: Charge, level: int) -> BucketState:
    """What to tell the caller of the charge's bucket."""
    unit = 1 if charge.kind == "concurrency" else UNITS
    remaining = max(0, capacity(charge) - level) // unit
    reset_ms = 0 if charge.kind == "concurrency" or not charge.limit else -(-level // charge.limit)
    return BucketState(charge.limit, remaining, reset_ms)
