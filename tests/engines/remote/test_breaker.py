"""The breaker opens after failures in a row, and longer each time a trial fails."""

from __future__ import annotations

import pytest

from chatwright.engines.remote.breaker import FAILURES, PAUSES, Breaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock) -> Breaker:
    return Breaker(clock)


def test_opens_after_failures_in_a_row(breaker):
    for _ in range(FAILURES - 1):
        breaker.fail()
    breaker.succeed()
    for _ in range(FAILURES - 1):
        breaker.fail()
    assert breaker.state == "closed"
    breaker.fail()
    assert breaker.state == "open"


def test_trial_decides(breaker, clock):
    breaker.trip()
    assert breaker.seconds_left == PAUSES[0]
    clock.now += PAUSES[0]
    assert breaker.seconds_left == 0
    breaker.probed()
    assert breaker.state == "half-open"
    breaker.fail()
    assert (breaker.state, breaker.seconds_left) == ("open", PAUSES[1])
    breaker.probed()
    breaker.succeed()
    assert breaker.state == "closed"
    breaker.trip()
    assert breaker.seconds_left == PAUSES[0]


def test_pauses_have_a_longest(breaker):
    for _ in range(20):
        breaker.trip()
    assert breaker.seconds_left == PAUSES[-1]


def test_health_check_of_a_closed_one_changes_nothing(breaker):
    breaker.probed()
    assert breaker.state == "closed"
