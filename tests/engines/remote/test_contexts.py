"""What first halves leave is given out once, for a minute."""

from __future__ import annotations

import pytest

from chatwright.core.errors import ContextNotFound
from chatwright.engines.remote import contexts
from chatwright.engines.remote.contexts import KEPT_SECONDS, Contexts


def test_context_is_given_out_once():
    book = Contexts()
    book.keep(1, {"a": 1})
    assert book.take(1) == {"a": 1}
    with pytest.raises(ContextNotFound):
        book.take(1)


def test_context_expires():
    now = [0.0]
    book = Contexts(lambda: now[0])
    book.keep(1, {})
    now[0] = KEPT_SECONDS + 1
    with pytest.raises(ContextNotFound):
        book.take(1)


def test_only_so_many_are_kept(monkeypatch):
    monkeypatch.setattr(contexts, "MOST", 2)
    book = Contexts()
    for number in range(4):
        book.keep(number, {"n": number})
    assert book.take(3) == {"n": 3}
    with pytest.raises(ContextNotFound):
        book.take(1)
