from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from chatwright.accounts.contents import MAX_CHARACTERS, Call, Content, Contents
from chatwright.accounts.ledger import Ledger, Opening
from chatwright.accounts.projects import ProjectChanges, Projects
from chatwright.accounts.requests import RequestFilter, list_requests
from chatwright.accounts.store import Store
from chatwright.core.errors import InvalidValue, NotFound
from chatwright.core.usage import Usage

SAID = Content("user: canary-prompt", "canary-answer", "canary-thought", (Call("f", '{"a": "canary"}'),))
DAY = 86_400_000


def bill(store: Store, clock: Callable[[], int], *contents: Content | None, project: str) -> list[str]:
    """Ids of the rows of closed requests, in the order of their contents."""
    book = Ledger(store, clock)
    book.start()
    for number, content in enumerate(contents):
        opening = Opening(f"r{number}", "k", project, "m")
        book.open(opening).close("finished", Usage(1, 1), 0, "stop", content)
    book.close()
    ids = {row.request_id: row.id for row in list_requests(store, RequestFilter(project_id=project))}
    return [ids[f"r{number}"] for number in range(len(contents))]


@pytest.fixture
def project(store: Store) -> str:
    return Projects(store).create("team", store_prompts=True, retention_days=2).id


def test_a_content_comes_back_as_it_was_and_only_where_it_was_given(store, clock, project) -> None:
    kept, bare = bill(store, clock, SAID, None, project=project)
    found = Contents(store, clock).get(kept)
    assert found.content == SAID
    assert (found.created_at, found.expires_at) == (clock(), clock() + 2 * DAY)
    for entry_id in (bare, "none", "a\0"):
        with pytest.raises(NotFound):
            Contents(store, clock).get(entry_id)
    rows = {row.id: row.stored for row in list_requests(store, RequestFilter())}
    assert rows == {kept: True, bare: False}


def test_what_is_too_long_is_cut_and_says_so(store, clock, project) -> None:
    prompt, answer = "x" * 10 + "p" * MAX_CHARACTERS, "a" * MAX_CHARACTERS + "y"
    long_call = Content("p", "a", tool_calls=(Call("f", "1" * MAX_CHARACTERS),))
    first, second, third = bill(
        store, clock, Content(prompt, answer), long_call, Content("nul \0", "\0"), project=project
    )
    contents = Contents(store, clock)
    assert contents.get(first).content == Content("p" * MAX_CHARACTERS, "a" * MAX_CHARACTERS, truncated=True)
    assert contents.get(second).content == Content("p", "a", truncated=True)
    assert contents.get(third).content == Content("nul \ufffd", "\ufffd")


def test_contents_expire_by_what_their_project_says_now(store, clock, project) -> None:
    contents = Contents(store, clock)
    (old,) = bill(store, clock, SAID, project=project)
    clock.advance(days=1)
    (other,) = bill(store, clock, SAID, project=Projects(store).create("b", store_prompts=True).id)
    assert contents.purge() == 0
    Projects(store).update("team", ProjectChanges(retention_days=1))
    with pytest.raises(NotFound):
        contents.get(old)
    assert contents.purge() == 1
    assert contents.purge() == 0
    assert contents.get(other).content == SAID
    assert len(list_requests(store, RequestFilter())) == 2


def test_contents_are_forgotten_one_by_one_or_by_project(store, clock, project, monkeypatch) -> None:
    monkeypatch.setattr("chatwright.accounts.contents._BATCH", 2)
    contents = Contents(store, clock)
    first, *_ = bill(store, clock, *[SAID] * 6, project=project)
    (foreign,) = bill(store, clock, SAID, project=Projects(store).create("b").id)
    contents.forget(first)
    with pytest.raises(NotFound):
        contents.forget(first)
    assert contents.forget_project("team") == 5
    assert contents.forget_project("team") == 0
    assert contents.get(foreign).content == SAID
    with pytest.raises(NotFound):
        contents.forget_project("none")


def test_forgotten_text_is_in_no_file_of_the_database(sqlite_store: Store, clock) -> None:
    project = Projects(sqlite_store).create("team").id
    assert sqlite_store.path is not None
    bill(sqlite_store, clock, SAID, project=project)
    assert b"canary" in everything_beside(sqlite_store.path)
    Contents(sqlite_store, clock).forget_project(project)
    sqlite_store.close()
    assert b"canary" not in everything_beside(sqlite_store.path)


def everything_beside(database: Path) -> bytes:
    return b"".join(path.read_bytes() for path in database.parent.iterdir() if path.is_file())


def test_a_failed_write_shows_nothing_in_the_log(sqlite_store: Store, clock, caplog) -> None:
    sqlite_store.write(lambda c: c.execute(sa.text("DROP TABLE request_contents")))
    book = Ledger(sqlite_store, clock)
    book.start()
    with caplog.at_level(logging.DEBUG):
        entry = book.open(Opening("r", "k", "p", "m"))
        entry.close("finished", Usage(1, 1), 0, "stop", SAID)
        book._writer.close(timeout=0)
    assert "request_contents" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_retention_has_bounds(store, days) -> None:
    with pytest.raises(InvalidValue) as caught:
        Projects(store).create("a", retention_days=days)
    assert caught.value.param == "retention_days"
