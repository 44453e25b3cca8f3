from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from chatwright.accounts.liveness import hold, is_dead
from chatwright.accounts.store import Store

HOLDER = """
import sys, time
from chatwright.accounts.liveness import hold
from chatwright.accounts.store import Store
release = hold(Store(sys.argv[1]), 7)
print("held", flush=True)
time.sleep(600)
"""


def test_process_is_dead_once_it_is_killed(store: Store, database_url: str) -> None:
    assert is_dead(store, 7)
    command = [sys.executable, "-W", "ignore", "-c", HOLDER, database_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert [is_dead(store, 7), is_dead(store, 7), is_dead(store, 8)] == [False, False, True]
        process.send_signal(signal.SIGKILL)
        process.wait()
    # PostgreSQL needs a moment to see the broken connection; the test's time limit bounds it.
    while not is_dead(store, 7):
        pass
    assert is_dead(store, 7)


def test_released_hold_is_dead_and_asking_does_not_take_it(store: Store) -> None:
    release = hold(store, 1)
    assert not is_dead(store, 1)
    release()
    assert is_dead(store, 1)
    assert is_dead(store, 1)
    hold(store, 1)()


def test_two_processes_hold_apart(store: Store) -> None:
    first, second = hold(store, 1), hold(store, 2)
    first()
    assert [is_dead(store, 1), is_dead(store, 2)] == [True, False]
    second()


def test_a_lock_that_went_with_its_connection_is_taken_again(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not database_url.startswith("postgresql"):
        pytest.skip("SQLite's locks are files")
    monkeypatch.setattr("chatwright.accounts.liveness.CHECK_SECONDS", 0.05)
    release = hold(store, 3)
    kill = "SELECT pg_terminate_backend({})"
    for _ in range(2):
        holder = holder_of(store, 3)
        store.read(lambda connection, pid=holder: connection.exec_driver_sql(kill.format(pid)))
        while holder_of(store, 3) in (None, holder):  # the test's time limit bounds it
            pass
        assert not is_dead(store, 3)
    release()
    while not is_dead(store, 3):
        pass


def holder_of(store: Store, process_id: int) -> int | None:
    """The server's process that has the lock."""
    query = f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = {process_id} AND granted"
    return store.read(lambda connection: connection.exec_driver_sql(query).scalar())
