from hypothesis import given
from hypothesis import strategies as st

from chatwright.sampling.bad_sequences import BadSequences

sequences = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple), max_size=10)


def banned_slowly(bad, out):
    return {s[-1] for s in bad if len(s) == 1 or tuple(out[-(len(s) - 1) :]) == s[:-1]}


def after(bad, out):
    found = BadSequences(bad)
    for token in out:
        found.append(token)
    return found


@given(sequences, st.lists(st.integers(0, 3), max_size=8))
def test_banned_ids_any_history_equal_a_plain_search(bad, out):
    found = after(bad, out)
    assert found.always | set(found.completing()) == banned_slowly(bad, out)
    assert found.last_ids == {sequence[-1] for sequence in bad}


def test_completing_id_zero_duplicates_and_overlap():
    sequences = [(1, 1, 0), (1, 1, 0), (1, 1, 1), (0,)]
    assert sorted(after(sequences, [1, 1]).completing()) == [0, 1]
    assert after(sequences, [1]).completing() == []
    assert after(sequences, []).completing() == []
    assert after(sequences, []).always == {0}


@given(sequences, st.lists(st.integers(0, 3), max_size=8), st.integers(0, 8))
def test_tokens_can_be_taken_back(bad, out, kept):
    found = after(bad, out)
    found.rewind(kept)
    assert found.completing() == after(bad, out[:kept]).completing()


def test_ids_are_not_mistaken_for_parts_of_others():
    """0x0100 and 0x01 share bytes; only whole ids count."""
    assert after([(256, 5)], [1, 0]).completing() == []
    assert after([(256, 1, 5)], [256, 1]).completing() == [5]
