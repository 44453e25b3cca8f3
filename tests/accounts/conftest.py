"""Databases for the tests: SQLite, and a private PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.servers import PostgreSQL, Redis

from chatwright.accounts.migrate import migrate
from chatwright.accounts.store import Store
from chatwright.accounts.tables import metadata, projects


class ManualClock:
    """Unix milliseconds that move only when told to. Starts on 2026-03-10 12:00 UTC."""

    def __init__(self) -> None:
        self.now = 1_773_144_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, *, seconds: float = 0, days: float = 0) -> None:
        self.now += round(1000 * (seconds + 86_400 * days))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session")
def postgresql_url(postgresql_server: PostgreSQL) -> str:
    """Its database without tables."""
    return postgresql_server.url


@pytest.fixture
def new_postgresql(postgresql_url: str) -> Iterator[Callable[[], str]]:
    """Make databases, as URLs; they are dropped after the test."""
    made: list[str] = []
    url = sa.make_url(postgresql_url).set(drivername="postgresql+psycopg")
    server = sa.create_engine(url, isolation_level="AUTOCOMMIT")

    def create() -> str:
        made.append(f"test{len(made)}")
        with server.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {made[-1]}")
        return postgresql_url.replace("/postgres?", f"/{made[-1]}?")

    yield create
    with server.connect() as connection:
        for name in made:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    server.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind without a single table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    url: str = request.getfixturevalue("new_postgresql")()
    return url


def _migrated(url: str) -> str:
    store = Store(url)
    migrate(store)
    store.close()
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "template.db"
    _migrated(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_url: str) -> str:
    return _migrated(postgresql_url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated database of each kind with nothing in it yet."""
    if request.param == "sqlite":
        template = request.getfixturevalue("sqlite_template")
        shutil.copy(template, tmp_path / "chatwright.db")
        return f"sqlite:///{tmp_path}/chatwright.db"
    url: str = request.getfixturevalue("migrated_postgresql")
    store = Store(url)
    store.write(_clear)
    store.close()
    return url


def _clear(connection: sa.Connection) -> None:
    for table in reversed(metadata.sorted_tables):
        connection.execute(table.delete())
    connection.execute(projects.insert().values(id="default", name="default", created_at=0))


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A migrated store on each kind of database."""
    store = Store(database_url)
    yield store
    store.close()


@pytest.fixture
def sqlite_store(tmp_path: Path, sqlite_template: Path) -> Iterator[Store]:
    """A migrated store on SQLite only, for what doesn't depend on the database."""
    shutil.copy(sqlite_template, tmp_path / "only.db")
    store = Store(f"sqlite:///{tmp_path}/only.db")
    yield store
    store.close()


@pytest.fixture(scope="session")
def redis_url(redis_server: Redis) -> str:
    """It has no keys, unless another test left some."""
    return redis_server.url
