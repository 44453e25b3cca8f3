from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import sqlalchemy as sa

from chatwright.accounts.account import Account, KeyLimits
from chatwright.accounts.admission import Admissions
from chatwright.accounts.budgets import Budgets
from chatwright.accounts.ledger import Ledger
from chatwright.accounts.limits import LimitReached, RateLimiter
from chatwright.accounts.memory_buckets import MemoryBuckets
from chatwright.accounts.prices import Price
from chatwright.accounts.store import Store
from chatwright.accounts.tables import ledger
from chatwright.core.errors import BudgetExceeded, Overloaded
from chatwright.core.usage import Usage

PRICE = Price(input=2, cached_input=1, output=5)
LIMITS = KeyLimits(100, 1000, 5)


def account(has_budget: bool = True) -> Account:
    return Account("env-1", "a", "env", "key:env-1", limits=LIMITS, has_budget=has_budget)


@pytest.fixture
def limiter(clock: Callable[[], int]) -> RateLimiter:
    return RateLimiter(MemoryBuckets(clock))


@pytest.fixture
async def admissions(
    sqlite_store: Store, limiter: RateLimiter, clock: Callable[[], int]
) -> AsyncIterator[Admissions]:
    book = Ledger(sqlite_store, clock)
    book.start()
    yield Admissions(sqlite_store, limiter, book, {"m": PRICE}, clock)
    book.close()


def rows(store: Store) -> list[Any]:
    return store.read(lambda connection: connection.execute(sa.select(ledger).order_by(ledger.c.id)).all())


async def tokens_left(limiter: RateLimiter) -> int:
    status = await limiter.status(account())
    assert status.tokens is not None
    return status.tokens.remaining


def ask(admissions: Admissions, caller: Account, prompt: int = 100, most: int = 200, model: str = "m") -> Any:
    return admissions.admit(
        caller, model=model, request_id="r", prompt_tokens=prompt, max_tokens=most, user="u"
    )


@pytest.mark.parametrize("status", ["finished", "stopped", "aborted", "failed"])
async def test_every_ending_settles_limits_and_bill(
    sqlite_store: Store, limiter: RateLimiter, admissions: Admissions, status: Any
) -> None:
    admission = await ask(admissions, account())
    assert admission.rate_limits.tokens.remaining == 700
    await admission.first_token()
    await admission.end(status, Usage(prompt_tokens=100, completion_tokens=30, cached_tokens=60), "stop")
    await admission.end("failed", Usage())
    (row,) = rows(sqlite_store)
    assert (row.status, row.cost, row.user) == (status, 40 * 2 + 60 * 1 + 30 * 5, "u")
    assert (row.reserved_tokens, row.reserved_cost) == (300, 100 * 2 + 200 * 5)
    assert row.ttft_ms is not None
    assert await tokens_left(limiter) == 870


async def test_request_refused_by_the_engine_costs_nothing(
    sqlite_store: Store, limiter: RateLimiter, admissions: Admissions
) -> None:
    fresh = await limiter.status(account())
    admission = await ask(admissions, account())
    await admission.end("refused", Usage())
    assert await limiter.status(account()) == fresh
    assert [(row.status, row.cost) for row in rows(sqlite_store)] == [("refused", 0)]


@pytest.mark.parametrize("told", [True, False])
async def test_budget_refusal_leaves_no_trace(
    sqlite_store: Store, limiter: RateLimiter, admissions: Admissions, clock: Any, told: bool
) -> None:
    Budgets(sqlite_store, clock).set("key", "env-1", "day", 1199)
    fresh = await limiter.status(account())
    if told:
        with pytest.raises(BudgetExceeded):
            await ask(admissions, account())
    else:  # the budget was made after the key was looked up: nothing is shown all the same
        admission = await ask(admissions, account(has_budget=False))
        with pytest.raises(BudgetExceeded):
            await admission.first_token()
        await admission.end("refused", Usage())
    assert await limiter.status(account()) == fresh
    assert rows(sqlite_store) == []


async def test_limit_refusal_leaves_no_row(sqlite_store: Store, admissions: Admissions) -> None:
    with pytest.raises(LimitReached):
        await ask(admissions, account(), prompt=900)
    assert rows(sqlite_store) == []


async def test_caller_cancelled_while_the_row_is_written_leaves_nothing_open(
    sqlite_store: Store, limiter: RateLimiter, admissions: Admissions
) -> None:
    fresh = await limiter.status(account())
    for passes in range(8):  # cancelled at each of its awaits
        asking = asyncio.ensure_future(ask(admissions, account()))
        for _ in range(passes):
            await asyncio.sleep(0)
        asking.cancel()
        answer = (await asyncio.gather(asking, return_exceptions=True))[0]
        if not isinstance(answer, asyncio.CancelledError):
            await answer.end("refused", Usage())
    await limiter.close()
    await (await ask(admissions, account())).end(
        "refused", Usage()
    )  # the queue is in order: all before is written
    assert {row.status for row in rows(sqlite_store)} == {"refused"}
    assert await limiter.status(account()) == fresh


async def test_check_refuses_early_and_takes_nothing(
    sqlite_store: Store, limiter: RateLimiter, admissions: Admissions, clock: Any
) -> None:
    status = await admissions.check(account())
    assert status == await limiter.status(account())
    Budgets(sqlite_store, clock).set("project", "env", "day", 0)
    with pytest.raises(BudgetExceeded):
        await admissions.check(account())
    await ask(admissions, account(has_budget=False), prompt=800)
    with pytest.raises(LimitReached):
        await admissions.check(account(has_budget=False))


async def test_models_without_a_price_are_free_and_running_requests_keep_theirs(
    sqlite_store: Store, admissions: Admissions
) -> None:
    usage = Usage(prompt_tokens=10, completion_tokens=1)
    free, priced = await ask(admissions, account(), model="other"), await ask(admissions, account())
    admissions.set_prices({"m": Price(100, 100, 100)})
    later = await ask(admissions, account())
    for admission in (free, priced, later):
        await admission.end("finished", usage)
    assert sorted(row.cost for row in rows(sqlite_store)) == [0, 25, 1100]


async def test_nothing_is_admitted_while_the_ledger_is_away(
    sqlite_store: Store, limiter: RateLimiter, admissions: Admissions, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = await limiter.status(account())

    def away(work: Any) -> Any:
        raise sa.exc.OperationalError("", {}, Exception("away"))

    with monkeypatch.context() as outage:
        outage.setattr("chatwright.accounts.ledger._PATIENCE", 0.01)
        outage.setattr(sqlite_store, "write", away)
        with pytest.raises(Overloaded):
            await ask(admissions, account())
    assert await limiter.status(account()) == fresh
