from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from chatwright.accounts.buckets import UNITS, Charge
from chatwright.accounts.redis_buckets import LEASE_MS, RedisBuckets
from chatwright.core.errors import Overloaded

redis = pytest.importorskip("redis.asyncio")

SLOT = Charge("key:a", "concurrency", 1, 1)


@pytest.fixture
async def new_client(redis_url: str) -> Callable[[], Any]:
    client = redis.Redis.from_url(redis_url)
    await client.flushall()
    await client.aclose()
    return lambda: redis.Redis.from_url(redis_url)


async def test_processes_share_one_limit(new_client: Callable[[], Any]) -> None:
    several = [RedisBuckets(new_client()) for _ in range(4)]
    charge = Charge("project:p", "tokens", 1000, 10)
    takes = [buckets.take(f"{i}", [charge]) for i, buckets in enumerate(several * 50)]
    admitted = sum(decision.admitted for decision in await asyncio.gather(*takes))
    # The server's clock runs: what drained meanwhile may be used again, the level may not be passed.
    (level,) = await several[0].look([charge])
    assert 100 <= admitted < 200
    assert level <= 1000 * UNITS
    for buckets in several:
        await buckets.close()


async def test_slots_of_a_dead_process_come_free_when_their_lease_ends(
    new_client: Callable[[], Any], clock: Callable[[], int]
) -> None:
    dead, alive = RedisBuckets(new_client(), clock=clock), RedisBuckets(new_client(), clock=clock)
    assert (await dead.take("r", [SLOT])).admitted
    await dead.close()  # without giving back
    clock.advance(seconds=LEASE_MS / 1000 - 0.001)  # type: ignore[attr-defined]
    assert not (await alive.take("s", [SLOT])).admitted
    clock.advance(seconds=0.001)  # type: ignore[attr-defined]
    assert (await alive.take("s", [SLOT])).admitted
    await alive.close()


async def test_renewed_slots_are_kept_and_given_back_ones_do_not_return(
    new_client: Callable[[], Any], clock: Callable[[], int]
) -> None:
    holder, other = RedisBuckets(new_client(), clock=clock), RedisBuckets(new_client(), clock=clock)
    await holder.take("r", [SLOT])
    for _ in range(5):
        clock.advance(seconds=LEASE_MS / 1500)  # type: ignore[attr-defined]
        await holder.renew()
        assert not (await other.take("s", [SLOT])).admitted
    await holder.give_back("r", [SLOT])
    await holder.renew()
    assert (await other.take("s", [SLOT])).admitted
    await holder.close()
    await other.close()


async def test_holder_renews_by_itself(new_client: Callable[[], Any]) -> None:
    client = new_client()
    holder = RedisBuckets(client, lease_ms=150)
    await holder.take("r", [SLOT])
    name = "{chatwright}:concurrency:key:a"
    first = await client.zscore(name, "r")
    async with asyncio.timeout(10):
        while await client.zscore(name, "r") == first:
            await asyncio.sleep(0.01)
    await holder.close()


async def test_levels_expire_once_drained(new_client: Callable[[], Any]) -> None:
    client = new_client()
    buckets = RedisBuckets(client)
    await buckets.take("r", [Charge("key:a", "tokens", 60, 10), Charge("key:a", "requests", 60, 1)])
    assert 9_000 < await client.pttl("{chatwright}:tokens:key:a") <= 10_001
    assert 0 < await client.pttl("{chatwright}:requests:key:a") <= 1_001
    await buckets.close()


async def test_without_redis_nothing_is_admitted() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        buckets = RedisBuckets.connect(f"redis://127.0.0.1:{reserved.getsockname()[1]}")
        with pytest.raises(Overloaded) as caught:
            await buckets.take("r", [SLOT])
        assert caught.value.retry_after == 1.0
        await buckets.close()


async def test_nobody_starves_where_many_ask_at_once(redis_url: str) -> None:
    buckets = RedisBuckets.connect(redis_url)
    charge = Charge("key:many", "tokens", 10**9, 1)
    served = [0] * 64
    when_first_was_done: list[int] = []

    async def ask(number: int) -> None:
        for _ in range(40):
            assert (await buckets.take(f"{number}", [charge])).admitted
            served[number] += 1
        when_first_was_done.extend(served if not when_first_was_done else ())

    await asyncio.gather(*(ask(number) for number in range(64)))
    assert min(when_first_was_done) >= 20
    await buckets.close()


async def test_script_survives_a_flush_of_the_servers_scripts(new_client: Callable[[], Any]) -> None:
    client = new_client()
    buckets = RedisBuckets(client)
    await buckets.take("r", [SLOT])
    await client.script_flush()
    assert (await buckets.look([SLOT])) == (1,)
    await buckets.close()
