from __future__ import annotations

import asyncio
import stat
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from chatwright.accounts.store import Store
from chatwright.accounts.tables import api_keys, projects
from chatwright.core.errors import Overloaded


def test_sqlite_file_and_its_journal_are_readable_by_the_owner_only(sqlite_store: Store) -> None:
    sqlite_store.write(lambda connection: connection.execute(projects.update().values(weight=2.0)))
    assert sqlite_store.path is not None
    files = list(sqlite_store.path.parent.glob("only.db*"))
    assert {file.name for file in files} >= {"only.db", "only.db-wal"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_sqlite_pragmas_hold_on_every_connection(sqlite_store: Store) -> None:
    def pragmas(connection: sa.Connection) -> list[object]:
        names = ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    barrier = threading.Barrier(3)
    found: list[list[object]] = []

    def look() -> None:
        found.append(sqlite_store.read(lambda connection: (barrier.wait(), pragmas(connection))[1]))

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [["wal", 1, 5_000, 2]] * 3


def test_foreign_keys_are_enforced(store: Store) -> None:
    row = {"id": "key_x", "project_id": "nowhere", "name": "x", "scopes": ["inference"], "created_at": 1}
    with pytest.raises(sa.exc.IntegrityError):
        store.write(lambda connection: connection.execute(api_keys.insert().values(row)))


def test_write_that_raises_leaves_nothing(store: Store) -> None:
    def change(connection: sa.Connection) -> None:
        connection.execute(projects.update().values(name="changed"))
        raise LookupError

    with pytest.raises(LookupError):
        store.write(change)
    names = store.read(lambda connection: connection.execute(sa.select(projects.c.name)).scalars().all())
    assert names == ["default"]


def test_writers_exclude_each_other_and_readers_dont_wait(store: Store) -> None:
    # Read, then write what was read: lost updates would show in the sum.
    def increment(connection: sa.Connection) -> None:
        weight = connection.execute(sa.select(projects.c.weight)).scalar_one()
        connection.execute(projects.update().values(weight=weight + 1))

    def work() -> None:
        for _ in range(10):
            store.write(increment)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def read_beside(connection: sa.Connection) -> float:
        connection.execute(projects.update().values(weight=0.5))
        return store.read(lambda other: other.execute(sa.select(projects.c.weight)).scalar_one())

    assert store.write(read_beside) == 41.0


async def test_run_leaves_the_event_loop_free(sqlite_store: Store) -> None:
    released = threading.Event()
    waiting = asyncio.ensure_future(sqlite_store.run(released.wait, 30))
    await asyncio.sleep(0)
    released.set()  # would never be reached if `run` had blocked the loop
    assert await waiting


def test_work_is_begun_again_when_the_server_has_dropped_its_connections(
    store: Store, database_url: str
) -> None:
    if not database_url.startswith("postgresql"):
        pytest.skip("SQLite has no server")
    weight = sa.select(projects.c.weight)

    def read() -> float:
        return store.read(lambda connection: connection.execute(weight).scalar_one())

    def write() -> float:
        return store.write(lambda connection: connection.execute(weight).scalar_one())

    other = Store(database_url)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
    for work in (read, write):
        work()  # leaves a connection in the pool
        other.read(lambda connection: connection.exec_driver_sql(kill).all())
        assert work() == 1.0
    other.close()


def test_work_that_has_begun_is_not_repeated(store: Store, database_url: str) -> None:
    if not database_url.startswith("postgresql"):
        pytest.skip("SQLite has no server")
    calls = []

    def interrupted(connection: sa.Connection) -> None:
        calls.append(connection.exec_driver_sql("SELECT 1").scalar_one())
        connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(sa.exc.DBAPIError):
        store.write(interrupted)
    assert calls == [1]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://localhost/x"])
def test_store_refuses_databases_it_can_not_keep_safe(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///path"):
        Store(url)


def test_store_makes_missing_folders_private(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/a/b/c.db")
    store.close()
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


async def test_a_glance_is_here_and_now_on_sqlite_and_on_a_thread_elsewhere(store: Store) -> None:
    def where(connection: sa.Connection) -> tuple[bool, int]:
        count = connection.execute(sa.select(sa.func.count()).select_from(projects)).scalar_one()
        return threading.current_thread() is threading.main_thread(), count

    assert await store.glance(where) == (store.path is not None, 1)


async def test_a_glance_that_finds_sqlite_locked_waits_on_a_thread(sqlite_store: Store) -> None:
    threads: list[threading.Thread] = []
    timeouts: list[object] = []

    def work(connection: sa.Connection) -> str:
        threads.append(threading.current_thread())
        timeouts.append(connection.exec_driver_sql("PRAGMA busy_timeout").scalar())
        if len(threads) == 1:
            raise sa.exc.OperationalError("SELECT", {}, Exception("database is locked"))
        return "done"

    assert await sqlite_store.glance(work) == "done"
    assert [thread is threading.main_thread() for thread in threads] == [True, False]
    assert timeouts == [0, 5_000]


async def test_a_database_that_is_away_is_a_503_and_not_a_fault(sqlite_store: Store) -> None:
    def away() -> None:
        raise sa.exc.OperationalError("SELECT 1", {}, Exception("connection refused"))

    with pytest.raises(Overloaded) as caught:
        await sqlite_store.run(away)
    assert "refused" not in caught.value.message
    assert caught.value.retry_after
