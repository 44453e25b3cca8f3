"""What clients and the ledger see when the database or Redis goes away while answers are streamed, and comes back."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests import servers
from tests.operations.conftest import Site
from tests.operations.test_processes import Stream

from chatwright.accounts.account import KeyLimits
from chatwright.accounts.liveness import is_dead
from chatwright.accounts.tables import ledger, processes

pytestmark = pytest.mark.slow

KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'test'"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, for sockets."""
    path = Path(tempfile.mkdtemp(prefix="cw-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def database(folder: Path, postgresql_server: object) -> Iterator[servers.PostgreSQL]:
    """A PostgreSQL of this test's own, which it may stop; skipped like the shared one."""
    (folder / "p").mkdir(mode=0o755)
    folder.chmod(0o755)
    server = servers.PostgreSQL(folder / "p")
    server.start()
    yield server
    with contextlib.suppress(Exception):
        server.stop()


@pytest.fixture
def redis(folder: Path, redis_server: object) -> Iterator[servers.Redis]:
    """A Redis of this test's own."""
    server = servers.Redis(folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def new_site(tmp_path: Path, model_home: Path, default_model: object) -> Iterator[Callable[..., Site]]:
    (tmp_path / "models").symlink_to(model_home / "models")
    with contextlib.ExitStack() as stack:

        def make(**always: str) -> Site:
            site = Site(tmp_path, **always)
            stack.enter_context(contextlib.closing(site.store))
            stack.callback(site.stop)
            return site

        yield make


@contextlib.contextmanager
def streaming(
    site: Site, secret: str, ask: Callable[..., dict[str, Any]], count: int = 2
) -> Iterator[list[Stream]]:
    """Answers that have begun."""
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(site.client(secret))
        body = ask(stream=True, stream_options={"include_usage": True})
        streams = []
        for _ in range(count):
            got = stack.enter_context(client.stream("POST", "/v1/chat/completions", json=body))
            streams.append(Stream(got))
            streams[-1].read(3)
        yield streams


def ended(streams: list[Stream]) -> int:
    """Read them to their proper ends; their tokens."""
    for stream in streams:
        stream.read()
        assert stream.done
        assert not any("error" in event for event in stream.events)
        assert "stop" in [event["choices"][0]["finish_reason"] for event in stream.events if event["choices"]]
    return sum(stream.events[-1]["usage"]["completion_tokens"] for stream in streams)


def post(site: Site, secret: str, ask: Callable[..., dict[str, Any]]) -> httpx.Response:
    with site.client(secret) as client:
        return client.post("/v1/chat/completions", json=ask(max_tokens=2))


def refused(answer: httpx.Response) -> None:
    """The whole of what a client is told."""
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (503, "overloaded", "server_error")
    assert int(answer.headers["retry-after"]) >= 1


def served_again(site: Site, secret: str, ask: Callable[..., dict[str, Any]]) -> None:
    """Some time soon; until then it is a clear 503."""
    until = time.monotonic() + 30
    while (answer := post(site, secret, ask)).status_code != 200:
        refused(answer)
        assert time.monotonic() < until
        time.sleep(0.1)


def test_streams_do_not_feel_that_database_connections_are_dropped(new_site, database, ask) -> None:
    site = new_site(database_url=database.url)
    site.write(site.scripted(interval_ms=10))
    site.start()
    secret = site.key().secret
    with streaming(site, secret, ask) as streams:
        for _ in range(2):
            site.store.read(lambda connection: connection.exec_driver_sql(KILL).all())
            assert post(site, secret, ask).status_code == 200
            for stream in streams:
                stream.read(3)
        tokens = ended(streams)
    (row,) = site.usage()
    assert (row["finished"], row["lost"], row["output_tokens"]) == (4, 0, tokens + 4)
    until = time.monotonic() + 30
    while is_dead(site.store, process_of(site)):  # its lock went with its connection
        assert time.monotonic() < until
    assert site.stop() == 0


def process_of(site: Site) -> int:
    return site.store.read(lambda connection: connection.execute(sa.select(processes.c.id)).scalar_one())


def open_rows(site: Site) -> int:
    count = sa.select(sa.func.count()).where(ledger.c.status == "open")
    return site.store.read(lambda connection: connection.execute(count).scalar_one())


def test_a_database_that_is_away_refuses_new_requests_and_loses_no_bill(new_site, database, ask) -> None:
    site = new_site(database_url=database.url)
    site.write(site.scripted(interval_ms=10), api_keys=["from-the-file"])
    site.start()
    secret = site.key().secret
    with streaming(site, secret, ask) as streams:
        database.stop()
        for stream in streams:
            stream.read(5)
            assert not stream.done
        refused(post(site, secret, ask))
        refused(post(site, "from-the-file", ask))
        assert httpx.get(f"{site.url}/health").status_code == 200
        tokens = ended(streams)
        refused(post(site, secret, ask))
    database.start()
    served_again(site, secret, ask)
    until = time.monotonic() + 30
    while open_rows(site):
        assert time.monotonic() < until
    (row,) = [row for row in site.usage() if row["key"] != "env-1"]
    assert (row["finished"], row["lost"], row["output_tokens"]) == (3, 0, tokens + 2)
    assert site.stop() == 0


def test_without_redis_limited_keys_are_refused_and_others_served(new_site, redis, ask) -> None:
    site = new_site(redis_url=redis.url)
    site.write(site.scripted(interval_ms=10))
    site.start()
    limited = site.key(limits=KeyLimits(100, 100_000, 3)).secret
    free = site.key().secret
    with streaming(site, limited, ask) as held, streaming(site, free, ask) as others:
        redis.stop()
        refused(post(site, limited, ask))
        assert post(site, free, ask).status_code == 200
        tokens = ended(held) + ended(others)
    refused(post(site, limited, ask))
    redis.start()
    served_again(site, limited, ask)
    with streaming(site, limited, ask, 3) as held:  # no slot is held by answers that ended meanwhile
        assert post(site, limited, ask).status_code == 429
        tokens += ended(held)
    rows = site.usage()
    assert sum(row["output_tokens"] for row in rows) == tokens + 4
    assert sum(row["lost"] + row["failed"] + row["aborted"] for row in rows) == 0
    assert site.stop() == 0
