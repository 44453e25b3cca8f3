"""Sharing a step's time between drafts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatwright.engines.batching.plan import levelled


@given(st.lists(st.integers(0, 20), max_size=40), st.integers(-5, 400))
def test_shares_are_what_is_wanted_or_as_equal_as_can_be(wanted, total):
    shares = levelled(wanted, total)
    assert sum(shares) == min(sum(wanted), max(0, total))
    assert all(0 <= share <= want for share, want in zip(shares, wanted, strict=True))
    short = [share for share, want in zip(shares, wanted, strict=True) if share < want]
    if short:
        assert max(shares) <= min(short) + 1
