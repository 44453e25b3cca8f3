"""The database: SQLite in one file by default, PostgreSQL by URL.

One writer at a time, on both: a write transaction takes SQLite's write lock (BEGIN IMMEDIATE) or one advisory
lock of PostgreSQL before it reads, so what it checked still holds when it commits. Readers never wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from chatwright.core.errors import Overloaded

T = TypeVar("T")
P = ParamSpec("P")

_log = logging.getLogger(__name__)

WRITE_LOCK = 0x6368_7772  # "chwr": the advisory lock that every writer of PostgreSQL takes
_BUSY_TIMEOUT_MS = 5_000
_READER_THREADS = 4


class Store:
    """A migrated database. Methods may be called from any thread; `run` is for the event loop."""

    def __init__(self, url: str) -> None:
        """Open `sqlite:///path` or `postgresql://...`. Raises ValueError for others or a missing driver."""
        self.url = _with_driver(make_url(url))
        self.path = _create_private(self.url) if self.url.get_backend_name() == "sqlite" else None
        self.engine = _connect(self.url)
        self._writer = self.engine.execution_options(chatwright_write=True)
        self._glances = _connect_impatient(self.url) if self.path is not None else None
        self._threads = ThreadPoolExecutor(_READER_THREADS, thread_name_prefix="store")

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in a read transaction; once more where the server had closed the connection."""
        try:
            return self._read(work)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            return self._read(work)

    def _read(self, work: Callable[[sa.Connection], T]) -> T:
        with self.engine.connect() as connection:
            return work(connection)

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in a write transaction: on return all of it is durable, or none of it happened.

        Where the server had closed the connection before `work` began, it is begun once more.
        """
        begun = False

        def watched(connection: sa.Connection) -> T:
            nonlocal begun
            begun = True
            return work(connection)

        try:
            return self._write(watched)
        except DBAPIError as error:
            if begun or not error.connection_invalidated:
                raise
            return self._write(watched)

    def _write(self, work: Callable[[sa.Connection], T]) -> T:
        with self._writer.begin() as connection:
            return work(connection)

    async def glance(self, work: Callable[[sa.Connection], T]) -> T:
        """Do a short look-up by an index in a read transaction: on SQLite here and now, where it waits for nobody and handing
        it to a thread costs more than itself; on PostgreSQL on a thread. Raises Overloaded where the database is away.
        """
        if self._glances is not None:
            try:
                with self._glances.connect() as connection:
                    return work(connection)
            except OperationalError:
                pass  # locked, as after a crash: a thread may wait
        return await self.run(self.read, work)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a blocking function on one of the store's threads. Raises Overloaded where the database is away."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, lambda: function(*args, **kwargs))
        except (OperationalError, InterfaceError) as error:
            _log.warning("the database can't be used: %s", error.orig)
            raise Overloaded("The database can't be reached at the moment.", retry_after=1.0) from error

    def close(self) -> None:
        """Let running calls end, then close every connection."""
        self._threads.shutdown()
        self.engine.dispose()
        if self._glances is not None:
            self._glances.dispose()


def _with_driver(url: URL) -> URL:
    backend = url.get_backend_name()
    if backend == "sqlite":
        if not url.database or url.database == ":memory:":
            raise ValueError("the SQLite database needs a file: sqlite:///path/to/chatwright.db")
        return url.set(drivername="sqlite")
    if backend == "postgresql":
        try:
            import psycopg  # noqa: F401, PLC0415  # an extra
        except ImportError:
            raise ValueError("PostgreSQL needs the extra chatwright[postgres]") from None
        return url.set(drivername="postgresql+psycopg")
    raise ValueError(f"unknown database {backend!r}: use sqlite:///path or postgresql://user@host/name")


def _create_private(url: URL) -> Path:
    """Make the file readable by its owner only; SQLite gives its journal files the same mode."""
    path = Path(str(url.database)).absolute()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    return path


def _connect(url: URL) -> sa.Engine:
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(url, hide_parameters=True)  # an error's text goes into the log
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    # A writer that hangs in a transaction would hold the lock for all; the server ends it.
    options = "-c lock_timeout=5s -c idle_in_transaction_session_timeout=30s"
    arguments = {"options": options, "connect_timeout": 5, "tcp_user_timeout": 10_000}
    engine = sa.create_engine(url, connect_args=arguments, hide_parameters=True)
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _connect_impatient(url: URL) -> sa.Engine:
    """To SQLite, for the event loop: it never waits for a lock."""
    engine = sa.create_engine(url, hide_parameters=True)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=0"))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late to take the write lock
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",
        f"busy_timeout={_BUSY_TIMEOUT_MS}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _writes(connection: sa.Connection) -> bool:
    return bool(connection.get_execution_options().get("chatwright_write"))


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if _writes(connection) else "BEGIN")


def _begin_postgresql(connection: sa.Connection) -> None:
    if _writes(connection):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")


def insert_or_ignore(connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> bool:
    """Insert a row unless one with the same key is there; True if it was inserted."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return connection.execute(dialect.insert(table).values(row).on_conflict_do_nothing()).rowcount > 0
