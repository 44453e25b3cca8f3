"""What another process knows of an engine's waiting room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatwright.engines.room import FRESH_SECONDS, Room, RoomWatch


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_known_before_the_engine_has_said_something_and_some_time_after() -> None:
    clock = Clock()
    watch = RoomWatch(clock)
    assert watch.refusal(0.1) is None
    watch.told(Room(8, 80, 8, 1000, 7.0), 0)
    full = watch.refusal(1.0)
    assert full is not None
    assert "8 requests with 80 prompt tokens" in full.message
    assert full.retry_after == 7.0
    clock.now += FRESH_SECONDS
    assert watch.refusal(0.1) is None


def test_an_engine_that_has_gone_refuses_nobody() -> None:
    watch = RoomWatch(Clock())
    watch.told(Room(8, 80, 8, 1000, 7.0), 0)
    watch.gone()
    assert watch.refusal(1.0) is None


@given(
    st.integers(0, 12),
    st.integers(0, 120),
    st.lists(st.integers(1, 40), max_size=12),
    st.integers(0, 12),
    st.integers(0, 3),
    st.floats(0.01, 1.0),
)
def test_what_it_has_not_heard_of_counts_as_if_it_waited(
    requests: int, tokens: int, sent: list[int], heard: int, coming: int, share: float
) -> None:
    watch = RoomWatch(Clock())
    for prompt in sent:
        watch.sent(prompt)
    watch.told(Room(requests, tokens, 10, 100, 1.0), min(heard, len(sent)))
    unheard = sent[heard:]
    engine = Room(requests + len(unheard) + coming, tokens + sum(unheard) + coming, 10, 100, 1.0)
    assert (watch.refusal(share, coming) is None) == (engine.refusal(share, 1) is None)
    watch.told(Room(0, 0, 10, 100, 1.0), len(sent))
    assert watch.refusal(share) is None


def test_a_new_engine_counts_anew() -> None:
    watch = RoomWatch(Clock())
    watch.sent(5)
    watch.told(Room(0, 0, 1, 100, 1.0), 1)
    watch.gone()
    watch.sent(5)
    watch.told(Room(0, 0, 1, 100, 1.0), 0)
    assert watch.refusal(1.0) is not None
    watch.told(Room(0, 0, 1, 100, 1.0), 1)
    assert watch.refusal(1.0) is None
