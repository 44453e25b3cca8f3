"""Reading a request's JSON body, with its bounds enforced while it is read."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.types import Message, Receive

from chatwright.api.connection import ClientDisconnected
from chatwright.api.limits import DEPTH
from chatwright.api.scanner import Scanner
from chatwright.core.errors import InvalidJson, RequestTooLarge

STALLED_SECONDS = 60.0


async def read_body(
    receive: Receive,
    headers: list[tuple[bytes, bytes]],
    max_bytes: int,
    stalled_after: float = STALLED_SECONDS,
) -> bytes:
    """The whole body. Raises RequestTooLarge, InvalidJson (too deep, too many values, nothing came for `stalled_after`
    seconds), ClientDisconnected.
    """
    check_announced(headers, max_bytes)
    scanner = Scanner()
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await _next(receive, stalled_after)
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        scanner.feed(chunk)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _next(receive: Receive, stalled_after: float) -> Message:
    try:
        async with asyncio.timeout(stalled_after):
            return await receive()
    except TimeoutError:
        raise InvalidJson(
            f"The request body is not complete, and nothing of it came for {stalled_after:g} seconds."
        ) from None


def check_announced(headers: list[tuple[bytes, bytes]], max_bytes: int) -> None:
    """Raises RequestTooLarge where the client itself says so."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > max_bytes:
            raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(f"The request body is larger than {max_bytes} bytes.")


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body` (RFC 8259). Of a repeated member the last one counts. Raises InvalidJson.

    msgspec refuses what Python's own parser lets through: NaN, Infinity, numbers beyond float64, lone surrogates.
    """
    value = _decode(body)
    if not isinstance(value, dict):
        raise InvalidJson("The request body must be a JSON object.")
    return value


def _decode(body: bytes) -> Any:
    text = body.rstrip(b" \t\r\n")  # the parser is slow with megabytes of blanks
    if not text:
        raise InvalidJson("The request body is empty; it must be a JSON object.")
    try:
        return msgspec.json.decode(text)
    except UnicodeDecodeError as error:
        raise InvalidJson(f"The request body is not UTF-8 (byte {error.start}).") from None
    except RecursionError:
        raise InvalidJson(f"The body is nested deeper than {DEPTH.maximum} levels.") from None
    except msgspec.ValidationError:
        raise InvalidJson("The request body holds a number that is out of range.") from None
    except msgspec.DecodeError as error:
        reason = str(error).removeprefix("JSON is malformed: ")
        raise InvalidJson(f"The request body is not valid JSON: {reason}.") from None
