"""Which processes still live: each holds a lock that its death releases, however it dies.

SQLite: a lock file (flock) beside the database; the database is on this host, and so are its processes.
PostgreSQL: a session's advisory lock, which ends with its connection, on whatever host; a process whose connection is
dropped takes it again. No clock decides who is dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from chatwright.accounts.store import Store

_LOCK_CLASS = 0x6368  # keeps these advisory locks apart from other users of the database

CHECK_SECONDS = 2.0
"""How often a process sees to it that its connection still holds the lock."""

Release = Callable[[], None]


def hold(store: Store, process_id: int) -> Release:
    """Show that the process lives until the returned function is called, or it dies.

    The lock isn't handed on to children that are started by exec; a bare fork would keep it.
    """
    if store.path is not None:
        return _hold_file(_lock_file(store.path, process_id))
    return _Session(store, process_id).release


def is_dead(store: Store, process_id: int) -> bool:
    """Whether nobody holds the lock of the process."""
    if store.path is not None:
        return _file_is_free(_lock_file(store.path, process_id))
    # The lock is taken for the length of this transaction only.
    return store.read(lambda c: bool(c.execute(_TRY, {"class": _LOCK_CLASS, "id": process_id}).scalar_one()))


class _Session:
    """A connection that holds a process's lock, and a thread that replaces it where the server drops it."""

    def __init__(self, store: Store, process_id: int) -> None:
        """Raises what connecting raises."""
        self._store = store
        self._process_id = process_id
        self._connection = self._locked()
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="liveness", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Let the lock go."""
        self._released.set()
        self._thread.join()
        with contextlib.suppress(sa.exc.SQLAlchemyError):  # the end of the connection alone takes a moment
            self._connection.execute(_UNLOCK, {"class": _LOCK_CLASS, "id": self._process_id})
        self._close()

    def _locked(self) -> sa.Connection:
        connection = self._store.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(_LOCK, {"class": _LOCK_CLASS, "id": self._process_id})
        self._raw = connection.connection.driver_connection
        connection.detach()  # its own for good: the pool would hand the lock to others
        return connection

    def _close(self) -> None:
        self._connection.close()
        if self._raw is not None:
            self._raw.close()  # which SQLAlchemy leaves open where an error has made it give the connection up

    def _watch(self) -> None:
        while not self._released.wait(CHECK_SECONDS):
            try:
                self._connection.exec_driver_sql("SELECT 1")
            except sa.exc.SQLAlchemyError:
                with contextlib.suppress(sa.exc.SQLAlchemyError):  # the next round tries again
                    self._close()
                    self._connection = self._locked()


_UNLOCK = sa.text("SELECT pg_advisory_unlock(:class, :id)")
_LOCK = sa.text("SELECT pg_advisory_lock(:class, :id)")
_TRY = sa.text("SELECT pg_try_advisory_xact_lock(:class, :id)")


def _lock_file(database: Path, process_id: int) -> Path:
    return database.with_name(f"{database.name}-process-{process_id}")


def _hold_file(path: Path) -> Release:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    def release() -> None:
        path.unlink(missing_ok=True)
        os.close(descriptor)

    return release


def _file_is_free(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)
