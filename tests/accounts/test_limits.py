from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatwright.accounts.account import Account, KeyLimits
from chatwright.accounts.buckets import BucketState, Charge, Decision
from chatwright.accounts.limits import LimitReached, RateLimiter, RateLimitStatus, Reservation
from chatwright.accounts.memory_buckets import MemoryBuckets
from chatwright.core.errors import Overloaded, RateLimited

NONE = KeyLimits()


def account(key: str = "a", limits: KeyLimits = NONE, project: KeyLimits = NONE) -> Account:
    return Account(f"key_{key}", key, "proj", f"key:{key}", limits=limits, project_limits=project)


@pytest.fixture
def limiter(clock: Callable[[], int]) -> RateLimiter:
    return RateLimiter(MemoryBuckets(clock), {"m": KeyLimits(concurrent_requests=3)})


async def test_without_limits_everything_is_admitted(limiter: RateLimiter) -> None:
    reservations = [await limiter.reserve(account(), "other", 10**9) for _ in range(50)]
    assert {reservation.status for reservation in reservations} == {RateLimitStatus()}
    for reservation in reservations:
        await reservation.settle(5)
        await reservation.cancel()
    assert await limiter.check(account()) == await limiter.status(account()) == RateLimitStatus()


async def test_status_tells_limit_remaining_and_reset_after_the_reservation(limiter: RateLimiter) -> None:
    caller = account(limits=KeyLimits(60, 1000))
    reservation = await limiter.reserve(caller, "m", 250)
    assert reservation.status.requests == BucketState(60, 59, 1000)
    assert reservation.status.tokens == BucketState(1000, 750, 15_000)
    await reservation.settle(50)
    assert (await limiter.status(caller)).tokens == BucketState(1000, 950, 3000)
    assert reservation.status == await limiter.status(caller)


async def test_status_of_a_refused_reservation_is_as_before_it(limiter: RateLimiter) -> None:
    caller = account(limits=KeyLimits(60, 1000))
    before = await limiter.status(caller)
    reservation = await limiter.reserve(caller, "m", 250)
    await reservation.cancel()
    assert reservation.status == before


async def test_status_shows_the_tightest_of_key_project_and_model(limiter: RateLimiter) -> None:
    limiter.set_model_limits({"m": KeyLimits(5, 300)})
    caller = account(limits=KeyLimits(50, 1000), project=KeyLimits(10, 2000))
    reservation = await limiter.reserve(caller, "m", 100)
    assert reservation.status.requests is not None
    assert reservation.status.tokens is not None
    assert (reservation.status.requests.limit, reservation.status.tokens.limit) == (5, 300)
    assert (await limiter.status(caller)).requests == BucketState(10, 9, 6000)


@pytest.mark.parametrize(
    ("limits", "project", "name"),
    [
        (KeyLimits(requests_per_minute=1), KeyLimits(), "requests per minute of this key"),
        (KeyLimits(), KeyLimits(tokens_per_minute=100), "tokens per minute of this project"),
        (KeyLimits(concurrent_requests=1), KeyLimits(), "concurrent requests of this key"),
    ],
)
async def test_refusal_names_the_limit_and_the_time(
    limiter: RateLimiter, limits: KeyLimits, project: KeyLimits, name: str
) -> None:
    caller = account(limits=limits, project=project)
    await limiter.reserve(caller, "other", 60)
    with pytest.raises(RateLimited) as caught:
        await limiter.reserve(caller, "other", 60)
    assert isinstance(caught.value, LimitReached)
    assert caught.value.limit == name
    assert name in caught.value.message
    expected = {"requests": 60.0, "tokens": 12.0, "concurrent": 1.0}[name.split(maxsplit=1)[0]]
    assert caught.value.retry_after == expected
    assert f"{expected:.3f} s" in caught.value.message


async def test_model_limit_counts_all_callers(limiter: RateLimiter) -> None:
    running = [await limiter.reserve(account(str(i)), "m", 1) for i in range(3)]
    with pytest.raises(LimitReached, match="concurrent requests of this model"):
        await limiter.reserve(account("other"), "m", 1)
    await limiter.reserve(account("other"), "another model", 1)
    await running[0].settle(1)
    await limiter.reserve(account("other"), "m", 1)


async def test_request_that_can_never_fit_gets_no_retry_after(limiter: RateLimiter) -> None:
    caller = account(limits=KeyLimits(tokens_per_minute=100))
    with pytest.raises(LimitReached, match="can never be admitted") as caught:
        await limiter.reserve(caller, "m", 101)
    assert caught.value.retry_after is None
    closed = account("b", limits=KeyLimits(requests_per_minute=0))
    with pytest.raises(LimitReached, match="admits no request"):
        await limiter.reserve(closed, "m", 1)


async def test_refused_request_costs_nothing(limiter: RateLimiter) -> None:
    caller = account(limits=KeyLimits(10, 100, 10), project=KeyLimits(10, 1000, 10))
    before = await limiter.status(caller, "m")
    for _ in range(20):
        with pytest.raises(LimitReached):
            await limiter.reserve(caller, "m", 101)
    assert await limiter.status(caller, "m") == before


async def test_cancel_gives_everything_back_and_settle_keeps_the_request(limiter: RateLimiter) -> None:
    caller = account(limits=KeyLimits(10, 100, 1))
    fresh = await limiter.status(caller)
    await (await limiter.reserve(caller, "m", 70)).cancel()
    assert await limiter.status(caller) == fresh
    await (await limiter.reserve(caller, "m", 70)).settle(30)
    after = await limiter.status(caller)
    assert after == RateLimitStatus(BucketState(10, 9, 6000), BucketState(100, 70, 18_000))
    await limiter.reserve(caller, "m", 1)  # the slot is free again


async def test_reservation_ends_once(limiter: RateLimiter) -> None:
    for limits in (KeyLimits(10, 100, 5), KeyLimits(10)):
        caller = account(str(limits), limits=limits)
        reservation = await limiter.reserve(caller, "m", 70)
        await reservation.settle(30)
        settled = await limiter.status(caller)
        await reservation.settle(0)
        await reservation.cancel()
        assert await limiter.status(caller) == settled


async def test_check_refuses_what_reserve_would_and_takes_nothing(limiter: RateLimiter) -> None:
    caller = account(limits=KeyLimits(10, 100))
    full = await limiter.check(caller)
    assert full.tokens == BucketState(100, 100, 0)
    await limiter.reserve(caller, "m", 100)
    with pytest.raises(LimitReached, match="tokens per minute"):
        await limiter.check(caller)


async def test_200_parallel_requests_never_pass_a_limit(limiter: RateLimiter) -> None:
    caller = account(limits=KeyLimits(tokens_per_minute=10_000))

    async def attempt() -> bool:
        try:
            await limiter.reserve(caller, "other", 99)
        except LimitReached:
            return False
        return True

    assert sum(await asyncio.gather(*[attempt() for _ in range(200)])) == 101


class SlowBuckets(MemoryBuckets):
    """Answers when told to, as a far server does."""

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(clock)
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()

    async def take(self, reservation: str, charges: Sequence[Charge]) -> Decision:
        self.asked.set()
        await self.answer.wait()
        return await super().take(reservation, charges)

    async def give_back(self, reservation: str, charges: Sequence[Charge]) -> tuple[int, ...]:
        await self.answer.wait()
        return await super().give_back(reservation, charges)


async def test_caller_that_goes_away_while_reserving_leaves_nothing(clock: Callable[[], int]) -> None:
    slow = SlowBuckets(clock)
    limiter, caller = RateLimiter(slow), account(limits=KeyLimits(10, 100, 1))
    reserving = asyncio.ensure_future(limiter.reserve(caller, "m", 50))
    await slow.asked.wait()
    reserving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reserving
    slow.answer.set()
    await asyncio.gather(*limiter._running)
    assert await limiter.status(caller) == RateLimitStatus(BucketState(10, 10, 0), BucketState(100, 100, 0))
    await limiter.reserve(caller, "m", 50)


async def test_settling_goes_on_when_its_caller_is_cancelled(clock: Callable[[], int]) -> None:
    slow = SlowBuckets(clock)
    limiter, caller = RateLimiter(slow), account(limits=KeyLimits(tokens_per_minute=100))
    slow.answer.set()
    reservation = await limiter.reserve(caller, "m", 50)
    slow.answer.clear()
    settling = asyncio.ensure_future(reservation.settle(10))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    slow.answer.set()
    await asyncio.gather(*limiter._running)
    assert (await limiter.status(caller)).tokens == BucketState(100, 90, 6000)


async def test_settling_never_fails_for_the_limiters_sake(clock: Callable[[], int]) -> None:
    class Unreachable(MemoryBuckets):
        async def give_back(self, reservation: str, charges: Sequence[Charge]) -> tuple[int, ...]:
            raise Overloaded("away")

    reservation = await RateLimiter(Unreachable(clock)).reserve(account(limits=KeyLimits(1)), "m", 1)
    await reservation.cancel()


class Walk:
    """A random life of several keys in one project, against plain sums."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.limits = KeyLimits(requests_per_minute=8, tokens_per_minute=100, concurrent_requests=3)
        self.project = KeyLimits(tokens_per_minute=150, concurrent_requests=4)
        self.limiter = RateLimiter(MemoryBuckets(clock))
        self.open: list[tuple[str, int, Reservation]] = []
        self.used = {"a": 0, "b": 0}

    async def start(self, key: str, tokens: int) -> None:
        caller = account(key, self.limits, self.project)
        before = await self.limiter.status(caller)
        try:
            reservation = await self.limiter.reserve(caller, "m", tokens)
        except LimitReached:
            assert await self.limiter.status(caller) == before
        else:
            self.open.append((key, tokens, reservation))

    async def end(self, position: int, used: int) -> None:
        if self.open:
            key, tokens, reservation = self.open.pop(position % len(self.open))
            self.used[key] += min(used, tokens)
            await reservation.settle(min(used, tokens))

    def check(self, minutes: float) -> None:
        running = [key for key, _, _ in self.open]
        assert len(running) <= 4
        for key in "ab":
            assert running.count(key) <= 3
            held = sum(tokens for owner, tokens, _ in self.open if owner == key)
            assert self.used[key] + held <= 100 * (1 + minutes) + 1e-6
        assert (
            sum(self.used.values()) + sum(tokens for _, tokens, _ in self.open) <= 150 * (1 + minutes) + 1e-6
        )


steps = st.lists(
    st.tuples(st.sampled_from(["start a", "start b", "end", "wait"]), st.integers(0, 80), st.integers(0, 80)),
    max_size=50,
)


@settings(deadline=None, max_examples=100)
@given(steps)
def test_any_interleaving_stays_within_the_limits(walk: list[tuple[str, int, int]]) -> None:
    now = 0

    async def live() -> None:
        nonlocal now
        life = Walk(lambda: now)
        for action, first, second in walk:
            if action == "wait":
                now += first * 500
            elif action == "end":
                await life.end(first, second)
            else:
                await life.start(action[-1], first)
            life.check(now / 60_000)
        while life.open:
            await life.end(0, 0)
        now += 10**9
        full = RateLimitStatus(BucketState(8, 8, 0), BucketState(100, 100, 0))
        assert await life.limiter.status(account("a", life.limits, life.project)) == full

    asyncio.run(live())
