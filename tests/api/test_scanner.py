import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatwright.api.limits import NODES
from chatwright.api.scanner import Scanner
from chatwright.core.errors import InvalidJson

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='"\\{}[],:é\n a', max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('"\\{[,', max_size=5), inner, max_size=4)
    ),
    max_leaves=40,
)


def depth_of(value):
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def pieces(data, cuts):
    places = sorted({min(cut, len(data)) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def feed_all(scanner, chunks):
    for chunk in chunks:
        scanner.feed(chunk)


@given(values, st.lists(st.integers(0, 300), max_size=10), st.booleans())
def test_depth_is_exact_however_the_text_is_cut(value, cuts, spaced):
    data = json.dumps(value, indent=1 if spaced else None, ensure_ascii=False).encode()
    depth = depth_of(value)
    exact = Scanner(depth=depth)
    feed_all(exact, pieces(data, cuts))
    assert exact.depth == 0
    if depth:
        with pytest.raises(InvalidJson, match="nested deeper"):
            feed_all(Scanner(depth=depth - 1), pieces(data, cuts))


@given(values, st.lists(st.integers(0, 300), max_size=10))
def test_count_of_values_is_the_same_however_the_text_is_cut(value, cuts):
    data = json.dumps(value).encode()
    whole, cut = Scanner(), Scanner()
    whole.feed(data)
    feed_all(cut, pieces(data, cuts))
    assert whole.nodes == cut.nodes


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8))
def test_any_bytes_are_survived_and_depth_is_never_underrated_before_the_fault(data, cuts):
    scanner = Scanner(depth=3)
    try:
        feed_all(scanner, pieces(data, cuts))
    except InvalidJson:
        return
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    assert depth_of(value) <= 3


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b"[{"])
def test_nesting_bomb_is_refused_long_before_its_end(opening):
    scanner = Scanner()
    with pytest.raises(InvalidJson, match="100 levels"):
        scanner.feed(opening * 1_000_000)
    assert scanner.nodes <= NODES.maximum


@pytest.mark.parametrize(
    "data", [b"[" + b"1," * 300_000, b"[" + b"[]," * 150_000, b"{" + b'"a":1,' * 260_000]
)
def test_too_many_values_are_refused(data):
    with pytest.raises(InvalidJson, match=str(NODES.maximum)):
        Scanner().feed(data)


def test_structure_inside_strings_does_not_count():
    scanner = Scanner(depth=1, nodes=3)
    scanner.feed(json.dumps(["[[[[{{{{,,,,", '\\"[\\\\"[']).encode())
    assert scanner.depth == 0
