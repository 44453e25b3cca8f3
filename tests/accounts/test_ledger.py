from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from chatwright.accounts import ledger as module
from chatwright.accounts.budgets import Budgets
from chatwright.accounts.ledger import Ledger, Opening, mark_lost
from chatwright.accounts.store import Store
from chatwright.accounts.tables import budget_events, ledger
from chatwright.core.errors import BudgetExceeded, Overloaded
from chatwright.core.usage import Usage

USAGE = Usage(
    prompt_tokens=10, completion_tokens=5, cached_tokens=4, reasoning_tokens=2, accepted_prediction_tokens=1
)


def opening(cost: int = 0, key: str = "env-1", **more: Any) -> Opening:
    return Opening(request_id="r", key_id=key, project_id="env", model="m", reserved_cost=cost, **more)


def rows(store: Store) -> list[Any]:
    return store.read(lambda connection: connection.execute(sa.select(ledger).order_by(ledger.c.id)).all())


def events(store: Store) -> list[str]:
    statement = sa.select(budget_events.c.event).order_by(budget_events.c.created_at, budget_events.c.event)
    return list(store.read(lambda connection: connection.execute(statement).scalars().all()))


@pytest.fixture
def book(store: Store, clock: Callable[[], int]) -> Iterator[Ledger]:
    book = Ledger(store, clock)
    book.start()
    yield book
    book.close()


async def test_row_is_committed_open_and_then_closed_with_everything(
    store: Store, book: Ledger, clock: Callable[[], int]
) -> None:
    entry = book.open(opening(7, user="somebody\0", reserved_tokens=99, service_tier="flex"))
    await entry.recorded()
    (row,) = rows(store)
    assert (row.status, row.opened_at, row.closed_at, row.reserved_tokens) == ("open", clock(), None, 99)
    assert (row.key_id, row.project_id, row.model, row.request_id) == ("env-1", "env", "m", "r")
    assert (row.user, row.service_tier, row.cost, row.input_tokens) == ("somebody\ufffd", "flex", 0, 0)
    entry.mark_first_token()
    entry.close("finished", USAGE, 6, "stop")
    await entry.closed()
    (row,) = rows(store)
    assert (row.status, row.finish_reason, row.cost) == ("finished", "stop", 6)
    tokens = (
        row.input_tokens,
        row.cached_tokens,
        row.output_tokens,
        row.reasoning_tokens,
        row.accepted_draft_tokens,
    )
    assert tokens == (10, 4, 5, 2, 1)
    assert 0 <= row.ttft_ms <= row.duration_ms
    assert row.closed_at == row.opened_at + row.duration_ms


async def test_rows_of_a_process_sort_by_their_opening(store: Store, book: Ledger, clock: Any) -> None:
    """Also within one millisecond, and where the clock is set back."""
    wanted = []
    for number in range(30):
        clock.now += {10: 1, 20: -5000}.get(number, 0)
        wanted.append(f"r{number}")
        await book.open(Opening(f"r{number}", "env-1", "env", "m")).recorded()
    assert [row.request_id for row in rows(store)] == wanted


@pytest.mark.parametrize("status", ["finished", "stopped", "aborted", "failed", "refused"])
async def test_first_ending_counts(sqlite_store: Store, status: Any) -> None:
    book = Ledger(sqlite_store)
    book.start()
    entry = book.open(opening())
    entry.close(status, USAGE, 6)
    entry.close("failed", Usage(), 0)
    await entry.closed()
    book.close()
    (row,) = rows(sqlite_store)
    assert (row.status, row.cost, row.ttft_ms) == (status, 6, None)


async def test_ending_is_written_though_its_caller_was_cancelled(store: Store, book: Ledger) -> None:
    entry = book.open(opening())
    await entry.recorded()

    async def end() -> None:
        entry.close("aborted", USAGE, 6)
        await entry.closed()

    ending = asyncio.ensure_future(end())
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    await entry.closed()
    assert rows(store)[0].status == "aborted"


async def test_200_parallel_requests_never_pass_an_enforced_budget(
    store: Store, book: Ledger, clock: Any
) -> None:
    Budgets(store, clock).set("project", "env", "month", 10_000)

    async def attempt() -> bool:
        entry = book.open(opening(99))
        try:
            await entry.recorded()
        except BudgetExceeded:
            return False
        entry.close("finished", Usage(), 99)
        await entry.closed()
        return True

    assert sum(await asyncio.gather(*[attempt() for _ in range(200)])) == 101
    assert sum(row.cost for row in rows(store)) == 9999
    assert len(rows(store)) == 101  # refused requests have no row and cost nothing
    assert [status.spent for status in Budgets(store, clock).list()] == [9999]


async def test_two_processes_hold_one_budget(store: Store, database_url: str, clock: Any) -> None:
    Budgets(store, clock).set("key", "env-1", "day", 1000)
    stores = [Store(database_url) for _ in range(2)]
    books = [Ledger(other, clock) for other in stores]
    for book in books:
        book.start()
    entries = [book.open(opening(30)) for _ in range(30) for book in books]
    answers = await asyncio.gather(*[entry.recorded() for entry in entries], return_exceptions=True)
    assert sum(answer is None for answer in answers) == 33
    for book, other in zip(books, stores, strict=True):
        book.close()
        other.close()


async def test_refusal_says_what_is_spent_held_and_needed(store: Store, book: Ledger, clock: Any) -> None:
    Budgets(store, clock).set("key", "env-1", "day", 10**13)
    done, running = book.open(opening(4 * 10**12)), book.open(opening(5 * 10**12))
    done.close("finished", Usage(), 25 * 10**11)
    await done.closed()
    await running.recorded()
    with pytest.raises(BudgetExceeded) as caught:
        await book.open(opening(3 * 10**12)).recorded()
    assert caught.value.message == (
        "The daily budget of this key is 10: 2.5 is spent, running requests may cost 5 and this one 3. "
        "It starts again at 2026-03-11 00:00 UTC."
    )
    await book.open(opening(3 * 10**12, key="env-2")).recorded()
    assert events(store) == ["refused"]


async def test_unused_part_of_a_reservation_comes_back(store: Store, book: Ledger, clock: Any) -> None:
    Budgets(store, clock).set("key", "env-1", "day", 100)
    for _ in range(10):
        entry = book.open(opening(91))
        await entry.recorded()
        entry.close("aborted", Usage(), 1)
        await entry.closed()
    with pytest.raises(BudgetExceeded):
        await book.open(opening(91)).recorded()


async def test_new_period_starts_from_nothing(store: Store, book: Ledger, clock: Any) -> None:
    budgets = Budgets(store, clock)
    budgets.set("key", "env-1", "day", 100)
    over_midnight = book.open(opening(100))
    await over_midnight.recorded()
    clock.advance(days=1)
    await book.open(opening(100)).recorded()
    over_midnight.close("finished", Usage(), 100)
    await over_midnight.closed()
    assert budgets.list()[0].spent == 0  # it was opened, and so is billed, the day before


async def test_thresholds_make_one_event_each_in_a_period(store: Store, book: Ledger, clock: Any) -> None:
    Budgets(store, clock).set("project", "env", "month", 100, enforced=False)

    async def spend(cost: int) -> list[str]:
        clock.advance(seconds=1)
        entry = book.open(opening(cost))
        entry.close("finished", Usage(), cost)
        await entry.closed()
        return events(store)

    assert await spend(74) == []
    assert await spend(1) == ["threshold_75"]
    assert await spend(14) == ["threshold_75"]
    assert await spend(500) == ["threshold_75", "threshold_100", "threshold_90"]
    assert await spend(500) == ["threshold_75", "threshold_100", "threshold_90"]
    clock.advance(days=31)
    assert await spend(80) == ["threshold_75", "threshold_100", "threshold_90", "threshold_75"]


async def test_spent_budget_refuses_what_is_free_too(store: Store, book: Ledger, clock: Any) -> None:
    Budgets(store, clock).set("key", "env-1", "day", 0)
    with pytest.raises(BudgetExceeded):
        await book.open(opening(0)).recorded()


async def test_request_waits_for_its_row_only_so_long(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    book = Ledger(sqlite_store)
    book.start()
    original = sqlite_store.write

    def away(work: Any) -> Any:
        raise sa.exc.OperationalError("", {}, Exception("away"))

    monkeypatch.setattr(sqlite_store, "write", away)
    entry = book.open(opening())
    with pytest.raises(Overloaded):
        await entry.recorded()
    entry.close("refused", Usage(), 0)
    await entry.closed()  # an answer must end, whatever the database does
    monkeypatch.setattr(sqlite_store, "write", original)
    book.close()
    assert rows(sqlite_store) == []


async def test_repeated_work_counts_once(store: Store, book: Ledger, clock: Any) -> None:
    # As after a commit whose answer was lost with the connection.
    Budgets(store, clock).set("key", "env-1", "day", 100)
    entry = book.open(opening(60))
    await entry.recorded()
    again = store.write(lambda connection: module._insert(connection, entry._row))
    assert again is None
    entry.close("finished", USAGE, 50)
    await entry.closed()
    book.submit_close(entry._row, {"status": "failed", "cost": 50}).result(30)
    assert [(row.status, row.cost) for row in rows(store)] == [("finished", 50)]
    assert Budgets(store, clock).list()[0].spent == 50


async def test_clean_end_leaves_no_row_open(store: Store, clock: Any) -> None:
    book = Ledger(store, clock)
    assert book.start() == 0
    closed, left = book.open(opening()), book.open(opening())
    closed.close("finished", Usage(), 1)
    book.close()
    assert sorted((row.status, row.cost) for row in rows(store)) == [("finished", 1), ("lost", 0)]
    await left.recorded()


KILLED = """
import asyncio, sys, time
from chatwright.accounts.ledger import Ledger, Opening
from chatwright.accounts.store import Store
from chatwright.core.usage import Usage

async def main():
    book = Ledger(Store(sys.argv[1]))
    book.start()
    for number in range(20):
        entry = book.open(Opening(request_id=f"done-{number}", key_id="env-1", project_id="env", model="m"))
        await entry.recorded()
        entry.close("finished", Usage(prompt_tokens=number, completion_tokens=1), 2, "stop")
        await entry.closed()
        print(f"done-{number}", flush=True)  # the client has seen the end of its answer
    for number in range(3):
        running = book.open(Opening(request_id=f"running-{number}", key_id="env-1", project_id="env", model="m",
                                    reserved_cost=30))
        await running.recorded()
        print(f"running-{number}", flush=True)  # the client has seen a first token
    time.sleep(600)

asyncio.run(main())
"""


async def test_sigkill_loses_no_answer_that_was_seen_and_shows_the_rest_as_lost(
    store: Store, database_url: str
) -> None:
    Budgets(store).set("key", "env-1", "month", 130)
    command = [sys.executable, "-W", "ignore", "-c", KILLED, database_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline().strip() for _ in range(23)]
        assert mark_lost(store, 0) == 0  # it lives
        process.send_signal(signal.SIGKILL)
        process.wait()
    book = Ledger(store)
    lost = book.start()
    while lost < 3:  # PostgreSQL needs a moment to see the broken connection
        lost += mark_lost(store, 1)
    found = {row.request_id: (row.status, row.input_tokens, row.cost) for row in rows(store)}
    assert set(found) == set(seen)
    assert found == {f"done-{i}": ("finished", i, 2) for i in range(20)} | {
        f"running-{i}": ("lost", 0, 0) for i in range(3)
    }
    # Nothing is held for the dead any more: 40 spent, 90 may be reserved.
    await book.open(opening(90)).recorded()
    book.close()


async def test_process_wrongly_held_for_dead_still_closes_its_rows(
    store: Store, book: Ledger, clock: Any
) -> None:
    Budgets(store, clock).set("key", "env-1", "month", 100)
    entry = book.open(opening(5))
    await entry.recorded()
    store.write(lambda connection: connection.execute(ledger.update().values(status="lost")))
    entry.close("finished", USAGE, 5)
    await entry.closed()
    assert [(row.status, row.cost) for row in rows(store)] == [("finished", 5)]
    assert Budgets(store, clock).list()[0].spent == 5


async def test_dropped_connections_lose_nothing(
    store: Store, book: Ledger, database_url: str, clock: Any
) -> None:
    if not database_url.startswith("postgresql"):
        pytest.skip("SQLite has no connections to drop")
    Budgets(store, clock).set("key", "env-1", "month", 100)
    before = book.open(opening(5))
    await before.recorded()
    other = Store(database_url)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    other.read(lambda connection: connection.exec_driver_sql(kill + " AND usename = 'test'").all())
    mark_lost(other, clock())  # the lock went with its connection, and may not have been taken again yet
    other.close()
    after = book.open(opening(7))
    await after.recorded()
    for entry, cost in ((before, 5), (after, 7)):
        entry.close("finished", USAGE, cost)
        await entry.closed()
    assert sorted((row.status, row.cost) for row in rows(store)) == [("finished", 5), ("finished", 7)]
    assert Budgets(store, clock).list()[0].spent == 12
