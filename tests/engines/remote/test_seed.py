"""Seeds that differ stay different in the bits that generators look at."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatwright.engines.remote.seed import spread


@given(st.integers(-(2**63), 2**63 - 1))
def test_seed_is_a_number_that_every_server_takes(seed):
    assert 0 <= spread(seed) < 2**63
    assert spread(seed) == seed or not 0 <= seed < 2**32


def test_extreme_seeds_differ_in_their_lower_bits():
    seeds = [0, 1, -1, 2**32 - 1, 2**32, 2**63 - 1, -(2**63), -(2**62) - 1]
    assert len({spread(seed) & 0xFFFFFFFF for seed in seeds}) == len(seeds)
