"""Server-sent events come out whole however the bytes were cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatwright.engines.remote import events
from chatwright.engines.remote.events import EventParser

STREAM = b': hello\r\n\r\ndata: {"a":"\xc3\xa9"}\r\n\r\nevent: x\ndata:two\ndata: lines\n\ndata: [DONE]\n\n'
DATA = [b'{"a":"\xc3\xa9"}', b"two\nlines", b"[DONE]"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_split_gives_the_same_events(places):
    parser = EventParser()
    cuts = sorted({0, len(STREAM), *places})
    parts = [STREAM[start:end] for start, end in itertools.pairwise(cuts)]
    assert [event for part in parts for event in parser.feed(part)] == DATA
    assert parser.whole


def test_split_at_every_byte_gives_the_same_events():
    parser = EventParser()
    assert [event for byte in STREAM for event in parser.feed(bytes([byte]))] == DATA


def test_stream_cut_within_an_event_is_not_whole():
    parser = EventParser()
    assert list(parser.feed(b'data: {"a"')) == []
    assert not parser.whole


def test_event_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(events, "MOST_BYTES", 64)
    parser = EventParser()
    assert len(list(parser.feed(b"data: x\n\n" * 100))) == 100
    with pytest.raises(ValueError, match="larger"):
        list(parser.feed(b"data: " + b"x" * 64))
