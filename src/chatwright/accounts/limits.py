"""Rate limits: which buckets a request is charged to, what it reserves, and what it gets back at its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from chatwright.accounts.account import Account, KeyLimits
from chatwright.accounts.buckets import BucketKind, Buckets, BucketState, Charge, Decision, state, wait_ms
from chatwright.core.errors import Overloaded, RateLimited

T = TypeVar("T")

_log = logging.getLogger(__name__)

_PHRASES: dict[BucketKind, str] = {
    "requests": "requests per minute",
    "tokens": "tokens per minute",
    "concurrency": "concurrent requests",
}


class RateLimitStatus(msgspec.Struct, frozen=True):
    """The tightest request bucket and the tightest token bucket; None where there is no such limit."""

    requests: BucketState | None = None
    tokens: BucketState | None = None


class LimitReached(RateLimited):
    """A limit refused the request. `limit` names it, as in "tokens per minute of this key"."""

    def __init__(self, message: str, limit: str, status: RateLimitStatus, retry_after: float | None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.limit = limit
        self.status = status


class Reservation:
    """What an admitted request holds. End it with `settle` or `cancel`; a second time does nothing.

    `status` is that of its limits with the request reserved, and once it has ended that with what it used.
    """

    def __init__(
        self, limiter: RateLimiter, charges: Sequence[Charge], status: RateLimitStatus, name: str
    ) -> None:
        """Made by `RateLimiter.reserve`."""
        self.status = status
        self._limiter = limiter
        self._charges = charges
        self._name = name
        self._ended = False

    async def settle(self, used_tokens: int) -> None:
        """Keep what was used and give the rest back. The request itself stays counted."""
        await self._end([_unused(charge, used_tokens) for charge in self._charges])

    async def cancel(self) -> None:
        """Give everything back: the request was refused before it began."""
        await self._end(self._charges)

    async def _end(self, refunds: Sequence[Charge]) -> None:
        if not self._ended:
            self._ended = True
            levels = await self._limiter.give_back(self._name, refunds)
            if levels is not None:
                self.status = _status(refunds, levels)


class RateLimiter:
    """Admits requests by the limits of their key, its project and the model, all at once or not at all."""

    def __init__(self, buckets: Buckets, model_limits: Mapping[str, KeyLimits] | None = None) -> None:
        """`model_limits` hold for all callers of a model together."""
        self._buckets = buckets
        self._model_limits = dict(model_limits or {})
        self._running: set[asyncio.Task[Any]] = set()

    def set_model_limits(self, model_limits: Mapping[str, KeyLimits]) -> None:
        """Replace the limits of models, as after a reload."""
        self._model_limits = dict(model_limits)

    async def reserve(self, account: Account, model: str, tokens: int) -> Reservation:
        """Reserve a request of at most `tokens` (prompt + max_tokens).

        Raises LimitReached, with nothing charged anywhere; Overloaded where the levels can't be reached.
        """
        charges = self._charges(account, model, tokens)
        name = secrets.token_hex(8)
        if not charges:
            return Reservation(self, charges, RateLimitStatus(), name)
        taking = asyncio.ensure_future(self._buckets.take(name, charges))
        try:
            decision = await asyncio.shield(taking)
        except asyncio.CancelledError:
            self._start(self._undo(taking, name, charges))
            raise
        status = _status(charges, decision.levels)
        if not decision.admitted:
            raise _refusal(charges, decision.levels, status)
        return Reservation(self, charges, status, name)

    async def check(self, account: Account) -> RateLimitStatus:
        """Refuse early what `reserve` would refuse whatever the request says. Takes nothing.

        Raises LimitReached, Overloaded.
        """
        charges = self._charges(account, None, 1)
        levels = await self._buckets.look(charges) if charges else ()
        status = _status(charges, levels)
        if any(wait_ms(charge, level) != 0 for charge, level in zip(charges, levels, strict=True)):
            raise _refusal(charges, levels, status)
        return status

    async def status(self, account: Account, model: str | None = None) -> RateLimitStatus:
        """The state of the limits, for answers that reserved nothing. Raises Overloaded."""
        charges = self._charges(account, model, 0)
        return _status(charges, await self._buckets.look(charges) if charges else ())

    def _charges(self, account: Account, model: str | None, tokens: int) -> list[Charge]:
        subjects = [
            (f"key:{account.key_id}", account.limits),
            (f"project:{account.project_id}", account.project_limits),
        ]
        if model in self._model_limits:
            subjects.append((f"model:{model}", self._model_limits[model]))
        return [charge for subject, limits in subjects for charge in _limit_charges(subject, limits, tokens)]

    async def give_back(self, name: str, refunds: Sequence[Charge]) -> tuple[int, ...] | None:
        """End a reservation, even if the caller is cancelled meanwhile. The levels then, where they are known."""
        if not any(refund.amount for refund in refunds):
            return None
        return await asyncio.shield(self._start(self._give_back(name, refunds)))

    async def close(self) -> None:
        """Let refunds that are under way end, then close the buckets."""
        await asyncio.gather(*self._running)
        await self._buckets.close()

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._running.add(task)  # the event loop alone would let it be collected
        task.add_done_callback(self._running.discard)
        return task

    async def _undo(self, taking: asyncio.Future[Decision], name: str, charges: Sequence[Charge]) -> None:
        """Give back what was taken for a caller that has gone."""
        with contextlib.suppress(Overloaded):
            if (await taking).admitted:
                await self._give_back(name, charges)

    async def _give_back(self, name: str, refunds: Sequence[Charge]) -> tuple[int, ...] | None:
        try:
            return await self._buckets.give_back(name, refunds)
        except Overloaded:
            # Nothing is lost for good: rates drain by themselves and slots have a lease.
            _log.warning("a reservation could not be given back")
            return None


def _unused(charge: Charge, used_tokens: int) -> Charge:
    """What a request that used so many tokens gives back; it stays counted as a request."""
    kept = {"requests": charge.amount, "tokens": used_tokens, "concurrency": 0}
    return charge._replace(amount=charge.amount - kept[charge.kind])


def _limit_charges(subject: str, limits: KeyLimits, tokens: int) -> list[Charge]:
    wanted: list[tuple[BucketKind, int | None, int]] = [
        ("requests", limits.requests_per_minute, 1),
        ("tokens", limits.tokens_per_minute, tokens),
        ("concurrency", limits.concurrent_requests, 1),
    ]
    return [Charge(subject, kind, limit, amount) for kind, limit, amount in wanted if limit is not None]


def _status(charges: Sequence[Charge], levels: Sequence[int]) -> RateLimitStatus:
    states = [(charge.kind, state(charge, level)) for charge, level in zip(charges, levels, strict=True)]

    def tightest(kind: BucketKind) -> BucketState | None:
        of_kind = [bucket for other, bucket in states if other == kind]
        return min(of_kind, key=lambda bucket: bucket.remaining, default=None)

    return RateLimitStatus(tightest("requests"), tightest("tokens"))


def _refusal(charges: Sequence[Charge], levels: Sequence[int], status: RateLimitStatus) -> LimitReached:
    """Names the limit that holds longest."""
    waits = [(wait_ms(charge, level), charge) for charge, level in zip(charges, levels, strict=True)]
    wait, charge = max(waits, key=lambda pair: float("inf") if pair[0] is None else pair[0])
    owner = charge.subject.partition(":")[0]
    limit = f"{_PHRASES[charge.kind]} of this {owner}"
    reached = f"The limit of {charge.limit} {limit} is reached"
    if wait is None and charge.kind == "tokens":
        needed = f"the request may need {charge.amount} (prompt and max_tokens) and can never be admitted"
        return LimitReached(f"The limit is {charge.limit} {limit}: {needed}.", limit, status, None)
    if wait is None:
        return LimitReached(f"{reached}: it admits no request.", limit, status, None)
    return LimitReached(f"{reached}. Try again in {wait / 1000:.3f} s.", limit, status, wait / 1000)
