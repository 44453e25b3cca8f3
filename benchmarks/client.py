"""A client that costs the servers little: raw sockets, nothing parsed while streams run.

A stream keeps what arrived and when; `Reply` reads it once all is over. Tokens are counted by the server's own usage,
since a chunk may hold several; gaps are between chunks that carry text.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np

_TEXT = re.compile(rb'"(?:content|reasoning_content)": ?"[^"]')


class StreamError(RuntimeError):
    """A server refused or broke a stream; the message is its own."""


@dataclass(frozen=True)
class Address:
    """Where and as whom to ask; `extras` are body members only this server knows."""

    port: int
    model: str
    key: str = "none"
    extras: dict[str, Any] = field(default_factory=dict)

    def request(self, body: dict[str, Any]) -> bytes:
        """A streaming chat completion as bytes."""
        whole = {"model": self.model, "stream": True, "stream_options": {"include_usage": True}}
        text = json.dumps(whole | self.extras | body).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Authorization: Bearer {self.key}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        )
        return head.encode() + text


class Stream(asyncio.Protocol):
    """One request in flight. `begun` is done at the first text, `ended` when the server hangs up."""

    def __init__(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        self._request = request
        self.began = time.perf_counter()
        self.reads: list[tuple[float, bytes]] = []
        self.begun: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's doesn't say so
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Keep it for later."""
        self.reads.append((time.perf_counter(), data))
        if not self.begun.done() and _TEXT.search(data):
            self.begun.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server is done, or we are."""
        for future in (self.begun, self.ended):
            if not future.done():
                future.set_result(None)

    def abort(self) -> None:
        """Hang up."""
        assert self._transport is not None
        self._transport.abort()

    async def reply(self) -> Reply:
        """What came, once all has."""
        await self.ended
        return Reply(self.began, self.reads)


@dataclass
class Reply:
    """A finished stream. Times are seconds of time.perf_counter."""

    began: float
    reads: list[tuple[float, bytes]]

    @cached_property
    def events(self) -> list[tuple[float, Any]]:
        """(arrival, chunk) of each server-sent event. Raises StreamError for anything but a 200 stream."""
        raw = b"".join(data for _, data in self.reads)
        head, _, body = raw.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise StreamError(raw[:400].decode(errors="replace") or "the server hung up")
        ends, total = [], 0
        for _, data in self.reads:
            total += len(data)
            ends.append(total)
        found = []
        for offset, line in _lines(body, len(head) + 4, chunked=b"chunked" in head.lower()):
            if not line.startswith(b"data:") or line == b"data: [DONE]":
                continue
            arrival = self.reads[int(np.searchsorted(ends, offset))][0]
            chunk = json.loads(line[5:])
            if "error" in chunk:
                raise StreamError(str(chunk["error"]))
            found.append((arrival, chunk))
        return found

    @cached_property
    def texts(self) -> list[tuple[float, str]]:
        """(arrival, text) of the chunks that carry text."""
        found = []
        for arrival, chunk in self.events:
            for choice in chunk.get("choices", ()):
                text = choice["delta"].get("content") or choice["delta"].get("reasoning_content")
                if text:
                    found.append((arrival, text))
        return found

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(text for _, text in self.texts)

    @cached_property
    def usage(self) -> dict[str, Any]:
        """Of the last chunk that has it. Raises StreamError where none does."""
        for _, chunk in reversed(self.events):
            if chunk.get("usage"):
                return dict(chunk["usage"])
        raise StreamError("the stream ended without usage")

    @property
    def tokens(self) -> int:
        """Generated tokens, as the server counts them."""
        return int(self.usage["completion_tokens"])

    @property
    def ttft(self) -> float:
        """Seconds from asking to the first text; to the end where no token was visible (control tokens)."""
        return (self.texts or self.events)[0 if self.texts else -1][0] - self.began

    @property
    def ended_at(self) -> float:
        """When the last event came."""
        return self.events[-1][0]

    @property
    def gaps(self) -> list[float]:
        """Seconds between consecutive chunks with text."""
        times = [arrival for arrival, _ in self.texts]
        return [after - before for before, after in itertools.pairwise(times)]


def _lines(body: bytes, offset: int, *, chunked: bool) -> Iterable[tuple[int, bytes]]:
    """(offset in the raw stream of the line's last byte, line) for each line of a body."""
    line = b""
    for start, piece in _pieces(body) if chunked else [(0, body)]:
        at = 0
        while (end := piece.find(b"\n", at)) >= 0:
            yield offset + start + end + 1, (line + piece[at:end]).rstrip(b"\r")
            line, at = b"", end + 1
        line += piece[at:]


def _pieces(body: bytes) -> Iterable[tuple[int, bytes]]:
    """(offset, data) of each chunk of a chunked body; a cut one ends it."""
    at = 0
    while (end := body.find(b"\r\n", at)) >= 0:
        size = int(body[at:end].split(b";")[0], 16)
        if not size:
            return
        yield end + 2, body[end + 2 : end + 2 + size]
        at = end + 4 + size


async def start(address: Address, body: dict[str, Any]) -> Stream:
    """Send a request; the stream runs on its own. Raises OSError where nobody listens."""
    stream = Stream(address.request(body))
    await asyncio.get_running_loop().create_connection(lambda: stream, "127.0.0.1", address.port)
    return stream


async def ask(address: Address, body: dict[str, Any]) -> Reply:
    """One request from start to end."""
    return await (await start(address, body)).reply()


async def ask_all(address: Address, bodies: Sequence[dict[str, Any]]) -> list[Reply]:
    """All at once."""
    streams = [await start(address, body) for body in bodies]
    return [await stream.reply() for stream in streams]


def summary(replies: Sequence[Reply]) -> dict[str, float]:
    """Figures of streams that were started together: tokens a second from the first request to the last event,
    milliseconds for the rest.
    """
    seconds = max(reply.ended_at for reply in replies) - min(reply.began for reply in replies)
    tokens = sum(reply.tokens for reply in replies)
    firsts = [1000 * reply.ttft for reply in replies]
    gaps = [1000 * gap for reply in replies for gap in reply.gaps] or [0.0]
    return {
        "tokens": tokens,
        "prompt_tokens": sum(int(reply.usage["prompt_tokens"]) for reply in replies),
        "seconds": seconds,
        "tokens_per_s": tokens / seconds,
        "ttft_p50_ms": float(np.percentile(firsts, 50)),
        "ttft_p95_ms": float(np.percentile(firsts, 95)),
        "itl_p50_ms": float(np.percentile(gaps, 50)),
        "itl_p99_ms": float(np.percentile(gaps, 99)),
    }


def medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """The median of each figure over rounds, and how far tokens a second spread."""
    middle = {name: float(np.median([one[name] for one in rounds])) for name in rounds[0]}
    speeds = [one["tokens_per_s"] for one in rounds if "tokens_per_s" in one]
    if speeds:
        middle |= {"tokens_per_s_min": min(speeds), "tokens_per_s_max": max(speeds)}
    return middle | {"rounds": len(rounds)}
