"""The same rules for every place where buckets are kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatwright.accounts.buckets import UNITS, Buckets, Charge, fits, state, wait_ms
from chatwright.accounts.memory_buckets import MemoryBuckets
from chatwright.accounts.redis_buckets import RedisBuckets


@pytest.fixture(params=["memory", "redis"])
async def buckets(request: pytest.FixtureRequest, clock: Callable[[], int]) -> AsyncIterator[Buckets]:
    if request.param == "memory":
        yield MemoryBuckets(clock)
    else:
        url = request.getfixturevalue("redis_url")
        made = RedisBuckets.connect(url, clock=clock)
        await made._client.flushall()
        yield made
        await made.close()


def requests(limit: int, amount: int = 1, subject: str = "key:a") -> Charge:
    return Charge(subject, "requests", limit, amount)


def tokens(limit: int, amount: int, subject: str = "key:a") -> Charge:
    return Charge(subject, "tokens", limit, amount)


async def test_limit_may_be_used_at_once_and_no_more(buckets: Buckets) -> None:
    answers = [(await buckets.take(str(i), [requests(3)])).admitted for i in range(5)]
    assert answers == [True, True, True, False, False]


async def test_bucket_drains_at_the_rate_of_its_limit_to_the_millisecond(
    buckets: Buckets, clock: Callable[[], int]
) -> None:
    charge = requests(7)
    for i in range(7):
        await buckets.take(str(i), [charge])
    (level,) = await buckets.look([charge])
    wait = wait_ms(charge, level)
    assert wait == 8572  # 60000 / 7 = 8571.4
    clock.advance(seconds=8.571)  # type: ignore[attr-defined]
    assert not (await buckets.take("early", [charge])).admitted
    clock.advance(seconds=0.001)  # type: ignore[attr-defined]
    assert (await buckets.take("due", [charge])).admitted


async def test_giving_back_tells_the_levels(buckets: Buckets) -> None:
    charges = [requests(10), tokens(100, 70), Charge("key:a", "concurrency", 3, 1)]
    await buckets.take("other", charges[2:])
    await buckets.take("r", charges)
    back = [charges[0]._replace(amount=0), charges[1]._replace(amount=50), charges[2]]
    assert await buckets.give_back("r", back) == (1 * UNITS, 20 * UNITS, 1)
    assert await buckets.look(charges) == (1 * UNITS, 20 * UNITS, 1)


async def test_nothing_is_lost_by_looking_often(buckets: Buckets, clock: Callable[[], int]) -> None:
    charge = tokens(7, 7)
    await buckets.take("all", [charge])
    for _ in range(60):
        clock.advance(seconds=0.333)  # type: ignore[attr-defined]
        await buckets.take("refused", [charge])
        await buckets.give_back("nothing", [charge._replace(amount=0)])
    assert (await buckets.look([charge]))[0] == 7 * UNITS - 7 * 60 * 333


async def test_all_buckets_are_charged_or_none(buckets: Buckets) -> None:
    narrow = [
        requests(10),
        tokens(100, 60),
        requests(10, subject="project:p"),
        Charge("key:a", "concurrency", 1, 1),
    ]
    assert (await buckets.take("1", narrow)).admitted
    before = await buckets.look(narrow)
    refused = await buckets.take("2", narrow)
    assert not refused.admitted
    assert refused.levels == before == await buckets.look(narrow)
    assert before == (UNITS, 60 * UNITS, UNITS, 1)


async def test_give_back_takes_off_again_but_not_below_nothing(
    buckets: Buckets, clock: Callable[[], int]
) -> None:
    charge = tokens(100, 80)
    await buckets.take("1", [charge])
    await buckets.give_back("1", [charge._replace(amount=50)])
    assert await buckets.look([charge]) == (30 * UNITS,)
    clock.advance(seconds=17)  # type: ignore[attr-defined]  # 28 1/3 drain, 1 2/3 are left
    await buckets.give_back("1", [charge._replace(amount=50)])
    assert await buckets.look([charge]) == (0,)


async def test_more_used_than_reserved_makes_a_debt(buckets: Buckets) -> None:
    charge = tokens(100, 100)
    await buckets.take("1", [charge])
    await buckets.give_back("1", [charge._replace(amount=-20)])
    (level,) = await buckets.look([charge])
    assert level == 120 * UNITS
    assert (state(charge, level).remaining, wait_ms(charge._replace(amount=1), level)) == (0, 12_600)


async def test_concurrency_comes_free_only_by_giving_back(buckets: Buckets, clock: Callable[[], int]) -> None:
    charge = Charge("key:a", "concurrency", 2, 1)
    assert [(await buckets.take(name, [charge])).admitted for name in "abc"] == [True, True, False]
    clock.advance(seconds=30)  # type: ignore[attr-defined]
    assert not (await buckets.take("d", [charge])).admitted
    await buckets.give_back("a", [charge])
    assert [(await buckets.take(name, [charge])).admitted for name in "ef"] == [True, False]


async def test_changed_limit_holds_at_once(buckets: Buckets) -> None:
    await buckets.take("1", [tokens(100, 100)])
    assert (await buckets.take("2", [tokens(150, 50)])).admitted
    assert not (await buckets.take("3", [tokens(100, 1)])).admitted
    assert not (await buckets.take("4", [tokens(0, 0), requests(0)])).admitted


async def test_200_at_once_never_pass_a_limit(buckets: Buckets) -> None:
    charges = [requests(150), tokens(10_000, 99), Charge("model:m", "concurrency", 120, 1)]
    decisions = await asyncio.gather(*[buckets.take(str(i), charges) for i in range(200)])
    assert sum(decision.admitted for decision in decisions) == 101
    assert await buckets.look(charges) == (101 * UNITS, 9999 * UNITS, 101)


async def test_levels_are_exact_at_the_largest_limit(buckets: Buckets, clock: Callable[[], int]) -> None:
    charge = tokens(10**10, 10**10)
    await buckets.take("1", [charge])
    clock.advance(seconds=0.001)  # type: ignore[attr-defined]
    assert await buckets.look([charge]) == (10**10 * (UNITS - 1),)
    assert not (await buckets.take("2", [charge._replace(amount=166_667)])).admitted
    assert (await buckets.take("3", [charge._replace(amount=166_666)])).admitted


Step = tuple[int, int, int, int]
steps = st.lists(
    st.tuples(st.integers(0, 40_000), st.integers(1, 60), st.integers(0, 60), st.integers(0, 2)), max_size=40
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(limit=st.integers(1, 50), walk=steps)
async def test_levels_follow_the_definition(
    buckets: Buckets, clock: Callable[[], int], limit: int, walk: list[Step]
) -> None:
    """Against fractions: no rounding, no charge on refusal, no more than limit * (1 + T) in any prefix."""
    # A subject of its own for each example, since the levels outlive it.
    subject = f"key:{id(walk)}-{clock()}-{limit}"
    level, elapsed, used = Fraction(0), 0, 0
    for pause, amount, unused, action in walk:
        clock.advance(seconds=pause / 1000)  # type: ignore[attr-defined]
        elapsed += pause
        level = max(Fraction(0), level - Fraction(limit * pause, UNITS))
        charge = tokens(limit, amount, subject)
        decision = await buckets.take("r", [charge])
        assert decision.admitted == (level + amount <= limit)
        if decision.admitted:
            level, used = level + amount, used + amount
            if action:
                back = min(unused, amount)
                await buckets.give_back("r", [charge._replace(amount=back)])
                level, used = max(Fraction(0), level - back), used - back
        assert (await buckets.look([charge]))[0] == level * UNITS
        assert used <= limit + Fraction(limit * elapsed, UNITS)
    clock.advance(days=1)  # type: ignore[attr-defined]


@given(limit=st.integers(0, 100), amount=st.integers(0, 120), level=st.integers(0, 120 * UNITS))
def test_wait_is_the_first_moment_at_which_the_charge_fits(limit: int, amount: int, level: int) -> None:
    charge = tokens(limit, amount)
    wait = wait_ms(charge, level)
    if wait is None:
        assert amount > limit or limit == 0
    elif limit:
        assert fits(charge, max(0, level - limit * wait))
        assert wait == 0 or not fits(charge, level - limit * (wait - 1))
    told = state(charge, level)
    assert told.remaining * UNITS + level <= max(limit * UNITS, level)
    assert limit == 0 or level - limit * told.reset_ms <= 0


async def test_memory_forgets_empty_buckets(clock: Callable[[], int]) -> None:
    memory = MemoryBuckets(clock)
    for number in range(4095):
        await memory.take("r", [requests(5, subject=f"key:{number}")])
    clock.advance(seconds=60)  # type: ignore[attr-defined]
    await memory.take("r", [requests(5)])
    assert len(memory._levels) == 1
