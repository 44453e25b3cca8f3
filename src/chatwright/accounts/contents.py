"""What was asked and answered, beside the ledger's rows of projects that want it kept; nothing otherwise.

Kept once a request has ended, in the transaction of its bill, for as many days as its project says now.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import sqlalchemy as sa

from chatwright.accounts.clock import Clock, unix_ms
from chatwright.accounts.projects import find_project_id
from chatwright.accounts.store import Store
from chatwright.accounts.tables import projects, request_contents
from chatwright.core.errors import NotFound, Overloaded

_log = logging.getLogger(__name__)

MAX_CHARACTERS = 128 * 1024
"""Of each text; of a longer prompt the end is kept, of a longer answer the beginning."""

PURGE_SECONDS = 3600.0

_DAY_MS = 86_400_000
_BATCH = 500  # rows that one transaction deletes: writers of the ledger wait for it
_REPLACED = str.maketrans({"\0": "\ufffd"})  # PostgreSQL's text can't hold it


class Call(msgspec.Struct, frozen=True):
    """A tool call of an answer; `arguments` is JSON text as it was generated."""

    name: str
    arguments: str


class Content(msgspec.Struct, frozen=True):
    """The prompt as the model read it, and the answer as far as it came. `truncated`: something was too long to keep."""

    prompt: str
    answer: str
    reasoning: str = ""
    tool_calls: tuple[Call, ...] = ()
    truncated: bool = False


class StoredContent(msgspec.Struct, frozen=True):
    """A content with its times, in Unix milliseconds."""

    content: Content
    created_at: int
    expires_at: int


class Contents:
    """Reads and deletes what is kept. Every method but `keep_purging` blocks on the database."""

    def __init__(self, store: Store, clock: Clock = unix_ms) -> None:
        self._store = store
        self._clock = clock

    def get(self, entry_id: str) -> StoredContent:
        """What is kept of a ledger's row. Raises NotFound where that is nothing, or no more."""
        statement = (
            sa.select(request_contents, projects.c.retention_days)
            .join(projects, projects.c.id == request_contents.c.project_id)
            .where(request_contents.c.entry_id == entry_id)
        )
        row = self._store.read(lambda c: c.execute(statement).first()) if entry_id.isprintable() else None
        found = None if row is None else _stored(row)
        if found is None or found.expires_at <= self._clock():
            raise NotFound(f"nothing is kept of request {entry_id[:200]!r}")
        return found

    def forget(self, entry_id: str) -> None:
        """Delete what is kept of a row; its bill stays. Raises NotFound like `get`."""
        self.get(entry_id)
        delete = request_contents.delete().where(request_contents.c.entry_id == entry_id)
        self._store.write(lambda connection: connection.execute(delete))

    def forget_project(self, project: str) -> int:
        """Delete all that is kept of a project, given by id or name; how many requests. Raises NotFound."""
        project_id = self._store.read(lambda connection: find_project_id(connection, project))
        return self._delete(request_contents.c.project_id == project_id)

    def purge(self) -> int:
        """Delete what its project wants kept no longer; how many requests."""
        days = sa.select(projects.c.retention_days).where(projects.c.id == request_contents.c.project_id)
        age = self._clock() - request_contents.c.created_at
        return self._delete(age >= days.scalar_subquery() * _DAY_MS)

    def _delete(self, condition: sa.ColumnElement[bool]) -> int:
        some = sa.select(request_contents.c.entry_id).where(condition).limit(_BATCH)
        delete = request_contents.delete().where(request_contents.c.entry_id.in_(some))
        total = 0
        while self._store.read(lambda c: c.execute(some.limit(1)).first()) is not None:
            total += self._store.write(lambda c: c.execute(delete).rowcount)
        return total

    async def keep_purging(self, interval: float = PURGE_SECONDS) -> None:
        """Purge every `interval` seconds, until cancelled. Several processes may run one each."""
        while True:
            try:
                await self._store.run(self.purge)
            except (sa.exc.SQLAlchemyError, Overloaded):
                _log.warning("expired prompts could not be deleted", exc_info=True)
            await asyncio.sleep(interval)


def insert(connection: sa.Connection, entry_id: str, project_id: str, at: int, content: Content) -> None:
    """Keep the content of a row that this transaction has closed."""
    calls = msgspec.json.encode(content.tool_calls).decode()
    row = {
        "entry_id": entry_id,
        "project_id": project_id,
        "created_at": at,
        "prompt": content.prompt[-MAX_CHARACTERS:].translate(_REPLACED),
        "answer": content.answer[:MAX_CHARACTERS].translate(_REPLACED),
        "reasoning": content.reasoning[:MAX_CHARACTERS].translate(_REPLACED),
        "tool_calls": calls if len(calls) <= MAX_CHARACTERS else "[]",
    }
    texts = (content.prompt, content.answer, content.reasoning, calls)
    truncated = content.truncated or any(len(text) > MAX_CHARACTERS for text in texts)
    connection.execute(request_contents.insert().values(row | {"truncated": truncated}))


def _stored(row: sa.Row[Any]) -> StoredContent:
    calls = msgspec.json.decode(row.tool_calls, type=tuple[Call, ...])
    content = Content(row.prompt, row.answer, row.reasoning, calls, row.truncated)
    return StoredContent(content, row.created_at, row.created_at + row.retention_days * _DAY_MS)
