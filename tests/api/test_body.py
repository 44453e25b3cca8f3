import asyncio

import pytest

from chatwright.api.body import parse_object, read_body
from chatwright.api.connection import ClientDisconnected
from chatwright.core.errors import InvalidJson, RequestTooLarge


def receiving(*messages):
    left = iter(messages)

    async def receive():
        return next(left)

    return receive


def part(body, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


async def test_parts_are_joined():
    receive = receiving(part(b'{"a"'), part(b":1}"), part(b"", more=False))
    assert await read_body(receive, [], 100) == b'{"a":1}'


@pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False)])
async def test_size_is_bounded_while_reading(size, fits):
    receive = receiving(part(b" " * 50), part(b" " * (size - 50)), part(b"", more=False))
    if fits:
        assert len(await read_body(receive, [], 100)) == size
    else:
        with pytest.raises(RequestTooLarge):
            await read_body(receive, [], 100)


async def test_declared_size_is_refused_before_anything_is_read():
    with pytest.raises(RequestTooLarge):
        await read_body(receiving(), [(b"content-length", b"101")], 100)


async def test_rest_of_a_nesting_bomb_is_not_read():
    with pytest.raises(InvalidJson):
        await read_body(receiving(part(b"[" * 200)), [], 10_000)


async def test_client_that_leaves_while_sending_is_noticed():
    with pytest.raises(ClientDisconnected):
        await read_body(receiving(part(b"{"), {"type": "http.disconnect"}), [], 100)


async def test_client_that_stops_sending_is_not_waited_for():
    parts = iter([part(b"{")])

    async def receive():
        return next(parts, None) or await asyncio.Event().wait()

    with pytest.raises(InvalidJson, match=r"0\.01 seconds"):
        await read_body(receive, [], 100, stalled_after=0.01)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"  \n",
        b"[]",
        b'"a"',
        b"null",
        b"1",
        b"{",
        b'{"a":1}}',
        b'{"a":1} x',
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":01}',
        b'{"a":+1}',
        b'{"a":.5}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00x"}',
        b'{"a":"\\ud800\\ud800"}',
        b'{"\\ud800":1}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xff"}',
        b'{"a":"\n"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":1}\x0b',
        '{"a":1}'.encode("utf-16"),
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(InvalidJson) as caught:
        parse_object(text)
    assert caught.value.param is None
    assert "`$" not in caught.value.message


def test_surrogate_pairs_and_long_integers_are_fine():
    assert parse_object(b'{"a":"\\ud83d\\ude00","b":123456789012345678901234567890}') == {
        "a": "😀",
        "b": 123456789012345678901234567890,
    }


def test_blanks_around_the_object_are_fine():
    assert parse_object(b' \t\r\n{"a":1}\n \t\r') == {"a": 1}


def test_last_of_repeated_members_counts():
    assert parse_object(b'{"a":1,"a":2}') == {"a": 2}
