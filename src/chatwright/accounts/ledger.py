"""The ledger: one row for each admitted request, opened before its first token and closed in every ending.

What is guaranteed: `recorded` returns after the opening row is committed and `closed` after the closing one.
So a request whose first token was shown has a row, and of a client that has seen the end of its answer the
row holds the exact tokens (unless the database stayed away for seconds and the process died before it was
back). A process that is killed loses no closed row; its open ones are marked `lost` by the next start and
cost nothing. Commits are synced to the disk, so the same holds for a power cut.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from chatwright.accounts import contents, liveness, spending
from chatwright.accounts.clock import Clock, unix_ms
from chatwright.accounts.contents import Content
from chatwright.accounts.store import Store
from chatwright.accounts.tables import ledger, processes
from chatwright.accounts.writer import Writer
from chatwright.core.errors import BudgetExceeded
from chatwright.core.usage import Usage

EndStatus = Literal["finished", "stopped", "aborted", "failed", "refused"]
"""How a request ended: by itself, by a stop string, by its client, by a fault, or refused once admitted."""

_log = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds a request waits for a commit
_REPLACED = str.maketrans({"\0": "\ufffd"})  # PostgreSQL's text can't hold it


class Opening(msgspec.Struct, frozen=True):
    """A request when it is admitted. `reserved_cost` is the most it may cost, in 10^-12 units; `metadata` are
    the client's labels, bounded where they come in.
    """

    request_id: str
    key_id: str
    project_id: str
    model: str
    user: str | None = None
    service_tier: str = "default"
    reserved_tokens: int = 0
    reserved_cost: int = 0
    metadata: dict[str, str] = {}


class Ledger:
    """Writes the rows of one process."""

    def __init__(self, store: Store, clock: Clock = unix_ms) -> None:
        self._store = store
        self._clock = clock
        self._writer = Writer(store)
        self._process_id = 0
        self._last_opened = (0, 0)
        self._release: Callable[[], None] | None = None

    def start(self) -> int:
        """Register this process and mark the rows of dead ones as lost; their number. Blocks on the database."""
        insert = processes.insert().values(started_at=self._clock()).returning(processes.c.id)
        self._process_id = self._store.write(lambda connection: connection.execute(insert).scalar_one())
        self._release = liveness.hold(self._store, self._process_id)
        lost = mark_lost(self._store, self._clock())
        self._writer.start()
        return lost

    def open(self, opening: Opening) -> LedgerEntry:
        """Ask for a row. Never blocks; `LedgerEntry.recorded` tells whether the request may run."""
        now = self._clock()
        row = msgspec.structs.asdict(opening) | {
            "id": self._next_id(now),
            "process_id": self._process_id,
            "status": "open",
            "opened_at": now,
            "user": None if opening.user is None else opening.user.translate(_REPLACED),
            "metadata": msgspec.json.encode(opening.metadata).decode() if opening.metadata else None,
        }
        recorded = self._writer.submit(lambda connection: _insert(connection, row), patience=_PATIENCE)
        return LedgerEntry(self, row, recorded)

    def _next_id(self, now: int) -> str:
        """Ids sort by time, so rows are appended to the index; those of one process in the order of opening, also
        within a millisecond and where the clock is set back.
        """
        last, number = self._last_opened
        self._last_opened = (now, 0) if now > last else (last, number + 1)
        opened, number = self._last_opened
        return f"{opened:011x}{number:06x}{secrets.token_hex(5)}"

    def submit_close(
        self, row: dict[str, Any], values: dict[str, Any], content: Content | None = None
    ) -> Future[None]:
        """Queue the end of a row."""
        now = self._clock()
        return self._writer.submit(lambda connection: _close(connection, row, values, content, now))

    def close(self) -> None:
        """Write what is queued and unregister. Rows that are still open become lost. Blocks on the database."""
        complete = self._writer.close()
        if self._release is not None:
            self._release()
        if complete:
            mark_lost(self._store, self._clock())


class LedgerEntry:
    """The row of one request."""

    def __init__(self, owner: Ledger, row: dict[str, Any], recorded: Future[BudgetExceeded | None]) -> None:
        """Made by `Ledger.open`."""
        self._ledger = owner
        self._row = row
        self._recorded = recorded
        self._started = time.monotonic_ns()
        self._ttft: int | None = None
        self._closed: Future[None] | None = None

    async def recorded(self) -> None:
        """Wait for the row's commit. Await it before the first token is shown.

        Raises BudgetExceeded where an enforced budget can't bear the request, which then has no row;
        Overloaded where the database can't be reached.
        """
        refusal = await asyncio.wrap_future(self._recorded)
        if refusal is not None:
            raise refusal

    def mark_first_token(self) -> None:
        """Take the time to the first token, now."""
        if self._ttft is None:
            self._ttft = _ms_since(self._started)

    def close(
        self,
        status: EndStatus,
        usage: Usage,
        cost: int,
        finish_reason: str | None = None,
        content: Content | None = None,
    ) -> None:
        """Queue the end of the row, and what shall be kept beside it. The first call counts; never blocks."""
        if self._closed is None:
            duration = _ms_since(self._started)
            values = {
                "status": status,
                "closed_at": self._row["opened_at"] + duration,
                "ttft_ms": self._ttft,
                "duration_ms": duration,
                "finish_reason": finish_reason,
                "input_tokens": usage.prompt_tokens,
                "cached_tokens": usage.cached_tokens,
                "output_tokens": usage.completion_tokens,
                "reasoning_tokens": usage.reasoning_tokens,
                "accepted_draft_tokens": usage.accepted_prediction_tokens,
                "cost": cost,
            }
            self._closed = self._ledger.submit_close(self._row, values, content)

    async def closed(self) -> None:
        """Wait for the closing commit, but no longer than a client would: it comes later if it must.

        Raises InternalError where the ledger was closed before it could be written.
        """
        if self._closed is not None:
            waiting = asyncio.wrap_future(self._closed)
            done, _ = await asyncio.wait([waiting], timeout=_PATIENCE)
            if not done:
                _log.warning("request %s ends before its bill is committed", self._row["request_id"])
            else:
                waiting.result()


def _ms_since(monotonic_ns: int) -> int:
    return (time.monotonic_ns() - monotonic_ns) // 1_000_000


def mark_lost(store: Store, now: int) -> int:
    """Mark the open rows of dead processes; their number. They cost nothing: nobody knows what they used."""
    still_open = ledger.c.status == sa.literal_column("'open'")

    def owners(connection: sa.Connection) -> list[int]:
        return list(connection.execute(sa.select(ledger.c.process_id).where(still_open).distinct()).scalars())

    dead = [owner for owner in store.read(owners) if liveness.is_dead(store, owner)]
    if not dead:
        return 0
    mark = (
        ledger.update().where(still_open, ledger.c.process_id.in_(dead)).values(status="lost", closed_at=now)
    )
    return store.write(lambda connection: connection.execute(mark).rowcount)


def _insert(connection: sa.Connection, row: dict[str, Any]) -> BudgetExceeded | None:
    """Open a row if the budgets can bear it. Done twice, as after a commit of unknown end, it stays one row."""
    known = connection.execute(_KNOWN, {"entry_id": row["id"]}).first()
    if known is not None:
        return None
    refusal = spending.refusal(
        connection, row["key_id"], row["project_id"], row["reserved_cost"], row["opened_at"]
    )
    if refusal is None:
        connection.execute(_INSERT, row)
    return refusal


def _close(
    connection: sa.Connection, row: dict[str, Any], values: dict[str, Any], content: Content | None, now: int
) -> None:
    """Close a row and charge its budgets, once. A row that was never opened stays absent."""
    if connection.execute(_CLOSE, values | {"entry_id": row["id"]}).rowcount:
        spending.charge(
            connection,
            key_id=row["key_id"],
            project_id=row["project_id"],
            opened_at=row["opened_at"],
            cost=values["cost"],
            now=now,
        )
        if content is not None:
            contents.insert(connection, row["id"], row["project_id"], row["opened_at"], content)


_KNOWN = sa.select(ledger.c.id).where(ledger.c.id == sa.bindparam("entry_id"))
_INSERT = ledger.insert()
# A process that was wrongly held for dead still gets its say.
_CLOSE = ledger.update().where(ledger.c.id == sa.bindparam("entry_id"), ledger.c.status.in_(["open", "lost"]))
