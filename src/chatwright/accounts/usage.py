"""Sums over the ledger: by key, project, model, service tier, user or day (UTC)."""

from __future__ import annotations

import csv
import datetime as dt
import io
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from chatwright.accounts.prices import format_amount
from chatwright.accounts.store import Store
from chatwright.accounts.tables import ledger

UsageGroup = Literal["key", "project", "model", "tier", "user", "day"]

# Literals: PostgreSQL doesn't see that two parameters of one expression are equal, as GROUP BY needs.
_DAY_MS: sa.ColumnElement[int] = sa.literal_column("86400000", sa.BigInteger)

_GROUPS: dict[UsageGroup, sa.ColumnElement[Any]] = {
    "key": ledger.c.key_id,
    "project": ledger.c.project_id,
    "model": ledger.c.model,
    "tier": ledger.c.service_tier,
    "user": sa.func.coalesce(ledger.c.user, sa.literal_column("''")),
    "day": ledger.c.opened_at - ledger.c.opened_at % _DAY_MS,
}

_SUMS = (
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
    "accepted_draft_tokens",
    "cost",
)
_BEGINS_FORMULA = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")
_STATUSES = ("finished", "stopped", "aborted", "failed", "refused", "lost")


class UsageFilter(msgspec.Struct, frozen=True):
    """Which rows count: opened at `since` or later and before `until` (Unix milliseconds), with these values."""

    since: int | None = None
    until: int | None = None
    key_id: str | None = None
    project_id: str | None = None
    model: str | None = None
    user: str | None = None
    service_tier: str | None = None


EVERYTHING = UsageFilter()


class UsageRow(msgspec.Struct, frozen=True):
    """The closed requests of a group. `cached_tokens` are part of input, `reasoning_tokens` of output.

    `group` is an id, a slug, a user ("" where none was given) or a date; `cost` is in 10^-12 units; the last
    six count requests by their ending.
    """

    group: str
    requests: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    accepted_draft_tokens: int
    cost: int
    finished: int
    stopped: int
    aborted: int
    failed: int
    refused: int
    lost: int


def read_usage(store: Store, by: UsageGroup, only: UsageFilter = EVERYTHING) -> list[UsageRow]:
    """Sum up, in the order of the groups. Requests that still run aren't in it. Blocks on the database."""
    group = _GROUPS[by].label("grouped")
    statement = (
        sa.select(
            group,
            sa.func.count().label("requests"),
            *(sa.func.sum(ledger.c[name]).label(name) for name in _SUMS),
            *(sa.func.count().filter(ledger.c.status == status).label(status) for status in _STATUSES),
        )
        .where(ledger.c.status != "open", *_conditions(only))
        .group_by(group)
        .order_by(group)
    )
    return store.read(lambda connection: [_row(by, row) for row in connection.execute(statement)])


def usage_csv(by: UsageGroup, rows: list[UsageRow]) -> str:
    """The rows as CSV (RFC 4180) with a head line; cost as a decimal.

    A group that a spreadsheet would take for a formula gets an apostrophe before it: clients choose `user` freely.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([by, *UsageRow.__struct_fields__[1:]])
    for row in rows:
        values = msgspec.structs.asdict(row) | {"cost": format_amount(row.cost), "group": _inert(row.group)}
        writer.writerow(values.values())
    return out.getvalue()


def _inert(text: str) -> str:
    """OWASP's list of what begins a formula, with the full-width signs that some programs read alike."""
    return f"'{text}" if text.startswith(_BEGINS_FORMULA) else text


def _conditions(only: UsageFilter) -> list[sa.ColumnElement[bool]]:
    found = []
    if only.since is not None:
        found.append(ledger.c.opened_at >= only.since)
    if only.until is not None:
        found.append(ledger.c.opened_at < only.until)
    for name in ("key_id", "project_id", "model", "user", "service_tier"):
        value = getattr(only, name)
        if value is not None:
            found.append(ledger.c[name] == value.replace("\0", "\ufffd"))  # as the ledger writes it
    return found


def _row(by: UsageGroup, row: sa.Row[Any]) -> UsageRow:
    values = {name: int(value) for name, value in row._mapping.items() if name != "grouped"}
    group = row.grouped if by != "day" else _date(row.grouped)
    return UsageRow(group, **values)


def _date(start_ms: int) -> str:
    return dt.datetime.fromtimestamp(start_ms // 1000, dt.UTC).date().isoformat()
