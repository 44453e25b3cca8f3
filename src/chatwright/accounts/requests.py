"""Single rows of the ledger, newest first: what became of a request, by its id, key, user or time."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from chatwright.accounts.store import Store
from chatwright.accounts.tables import ledger, request_contents
from chatwright.core.errors import InvalidValue, NotFound

MOST_ROWS = 1000


class RequestFilter(msgspec.Struct, frozen=True):
    """Which rows: opened at `since` or later and before `until` (Unix milliseconds), with these values. For the
    next page, `before` is the id of the last row of this one.
    """

    since: int | None = None
    until: int | None = None
    before: str | None = None
    key_id: str | None = None
    project_id: str | None = None
    model: str | None = None
    user: str | None = None
    request_id: str | None = None


class RequestRow(msgspec.Struct, frozen=True):
    """One request. `id` is the ledger's, `request_id` what its client was told; times are Unix milliseconds, `cost` is in
    10^-12 units. `status` is "open" while it runs; `stored` tells that prompt and answer are kept.
    """

    id: str
    request_id: str
    status: str
    key_id: str
    project_id: str
    model: str
    user: str | None
    metadata: dict[str, str]
    service_tier: str
    opened_at: int
    closed_at: int | None
    ttft_ms: int | None
    duration_ms: int | None
    finish_reason: str | None
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    accepted_draft_tokens: int
    cost: int
    stored: bool


_STORED = sa.exists().where(request_contents.c.entry_id == ledger.c.id).correlate(ledger).label("stored")
_COLUMNS = [_STORED if name == "stored" else ledger.c[name] for name in RequestRow.__struct_fields__]
_EQUAL = ("key_id", "project_id", "model", "user", "request_id")


def list_requests(store: Store, only: RequestFilter, limit: int = 100) -> list[RequestRow]:
    """At most `limit` rows, newest first. Raises InvalidValue for another limit than 1 to 1000. Blocks on the database."""
    if not 1 <= limit <= MOST_ROWS:
        raise InvalidValue(f"limit must be from 1 to {MOST_ROWS}", param="limit")
    newest_first = sa.select(*_COLUMNS).where(*_conditions(only)).order_by(ledger.c.id.desc()).limit(limit)
    return store.read(lambda connection: [_row(row) for row in connection.execute(newest_first)])


def find_request(store: Store, entry_id: str) -> RequestRow:
    """One row by the ledger's id. Raises NotFound. Blocks on the database."""
    statement = sa.select(*_COLUMNS).where(ledger.c.id == entry_id)
    row = store.read(lambda c: c.execute(statement).first()) if entry_id.isprintable() else None
    if row is None:
        raise NotFound(f"there is no request {entry_id[:200]!r} on the ledger")
    return _row(row)


def _conditions(only: RequestFilter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if only.since is not None:
        found.append(ledger.c.opened_at >= only.since)
    if only.until is not None:
        found.append(ledger.c.opened_at < only.until)
    if only.before is not None:
        found.append(ledger.c.id < only.before.replace("\0", ""))
    for name in _EQUAL:
        value = getattr(only, name)
        if value is not None:
            found.append(ledger.c[name] == value.replace("\0", "\ufffd"))
    return found


def _row(row: sa.Row[Any]) -> RequestRow:
    values = dict(row._mapping)
    labels = values.pop("metadata")
    return RequestRow(**values, metadata={} if labels is None else msgspec.json.decode(labels))
