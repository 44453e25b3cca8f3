"""HTTP/1.1 (RFC 9112), as far as streams of tokens need it: POST on kept connections, and the answer's bytes as they come.

A general client's layers cost more for each token than everything else in this process does. Errors are httpx's, whose
client asks for the short things.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx

READ_BYTES = 1 << 16
MOST_LINE = 1 << 14
_SIZE = re.compile(rb"[0-9a-fA-F]{1,15}")
_STATUS = re.compile(rb"HTTP/1\.([01]) (\d{3})(?: |$)")


class Times:
    """Seconds: to connect, to write a request, of silence within an answer, of idleness before a connection is let go."""

    def __init__(self, connect: float, write: float, silence: float, idle: float) -> None:
        self.connect, self.write, self.silence, self.idle = connect, write, silence, idle


class ChunkDecoder:
    """Chunked transfer coding (RFC 9112, section 7.1)."""

    def __init__(self) -> None:
        self._rest = b""
        self._left = 0
        self._expected = "size"
        self.done = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The content in these bytes, split anywhere. Raises RemoteProtocolError for what is no such coding."""
        self._rest += data
        while not self.done:
            if self._left:
                piece, self._rest = self._rest[: self._left], self._rest[self._left :]
                self._left -= len(piece)
                if not piece:
                    return
                yield piece
                continue
            line, found, rest = self._rest.partition(b"\r\n")
            if not found:
                if len(line) > MOST_LINE:
                    raise httpx.RemoteProtocolError("a line of the chunked coding has no end")
                return
            self._rest = rest
            self._take(line)
        if self._rest:
            raise httpx.RemoteProtocolError("bytes follow the answer")

    def _take(self, line: bytes) -> None:
        if self._expected == "trailer":
            self.done = not line
        elif self._expected == "end of chunk":
            if line:
                raise httpx.RemoteProtocolError("a chunk is longer than it says")
            self._expected = "size"
        else:
            size = line.partition(b";")[0].strip()
            if not _SIZE.fullmatch(size):
                raise httpx.RemoteProtocolError("a chunk has no size")
            self._left = int(size, 16)
            self._expected = "end of chunk" if self._left else "trailer"


class Response:
    """An answer whose head is there. `headers` have lower-case names."""

    def __init__(self, wire: _Wire, status: int, headers: Mapping[str, str], *, keeps: bool) -> None:
        self._wire = wire
        self._keeps = keeps
        self.status = status
        self.headers = headers
        self.whole = False

    @property
    def reusable(self) -> bool:
        """Whether another request may follow on this connection."""
        return self.whole and self._keeps

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Its content. Raises ReadTimeout, ReadError, RemoteProtocolError."""
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            decoder = ChunkDecoder()
            while not decoder.done:
                data = await self._wire.read()
                if not data:
                    raise httpx.RemoteProtocolError("the answer breaks off")
                for piece in decoder.feed(data):
                    yield piece
        elif (length := self.headers.get("content-length")) is not None:
            left = int(length)
            while left > 0:
                data = await self._wire.read(left)
                if not data:
                    raise httpx.RemoteProtocolError("the answer breaks off")
                left -= len(data)
                yield data
        else:
            self._keeps = False
            while data := await self._wire.read():
                yield data
        self.whole = True


class _Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, times: Times) -> None:
        self._reader = reader
        self._writer = writer
        self._times = times
        self.idle_since = 0.0

    @property
    def alive(self) -> bool:
        """As far as is known."""
        recent = time.monotonic() - self.idle_since < self._times.idle
        return recent and not self._reader.at_eof() and not self._writer.is_closing()

    async def ask(self, request: bytes) -> Response:
        """Send a request and read the head of its answer."""
        try:
            self._writer.write(request)
            async with asyncio.timeout(self._times.write):
                await self._writer.drain()
        except TimeoutError:
            raise httpx.WriteTimeout("the request can't be written") from None
        except OSError as error:
            raise httpx.WriteError(str(error)) from None
        while True:
            status, response = self._head(await self._read_head())
            if status >= 200:
                return response

    async def read(self, most: int = READ_BYTES) -> bytes:
        """What has come; nothing at the end."""
        try:
            async with asyncio.timeout(self._times.silence):
                return await self._reader.read(min(most, READ_BYTES))
        except TimeoutError:
            raise httpx.ReadTimeout("silence") from None
        except OSError as error:
            raise httpx.ReadError(str(error)) from None

    def abort(self) -> None:
        """Hang up at once: the server stops."""
        self._writer.transport.abort()

    async def _read_head(self) -> bytes:
        try:
            async with asyncio.timeout(self._times.silence):
                return await self._reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            raise httpx.ReadTimeout("silence") from None
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise httpx.RemoteProtocolError("the server gives no answer") from None
        except OSError as error:
            raise httpx.ReadError(str(error)) from None

    def _head(self, head: bytes) -> tuple[int, Response]:
        first, *lines = head[:-4].split(b"\r\n")
        found = _STATUS.match(first)
        if found is None:
            raise httpx.RemoteProtocolError("that is no answer in HTTP/1.1")
        headers = {}
        for line in lines:
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        if not headers.get("content-length", "0").isdecimal():
            raise httpx.RemoteProtocolError("the answer has no length")
        status, keeps = int(found[2]), found[1] == b"1" and headers.get("connection", "").lower() != "close"
        return status, Response(self, status, headers, keeps=keeps)


class Pool:
    """Connections to one server, kept for `times.idle` seconds. Everything here raises httpx.HTTPError."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        times: Times,
        options: tuple[tuple[int, int, int], ...] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._prefix = parts.path.rstrip("/")
        lines = {"host": parts.netloc.rpartition("@")[2], **headers}
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._times = times
        self._options = options
        self._tls = tls
        self._idle: list[_Wire] = []
        self._all: set[_Wire] = set()

    def close(self) -> None:
        """End them all; what still runs fails."""
        for wire in self._all:
            wire.abort()
        self._all.clear()
        self._idle.clear()

    @asynccontextmanager
    async def post(self, path: str, content: bytes) -> AsyncGenerator[Response]:
        """The answer to a request. Leaving before its end hangs up."""
        head = f"POST {self._prefix}{path} HTTP/1.1\r\n{self._headers}content-length: {len(content)}\r\n\r\n"
        wire, response = await self._answered(head.encode("latin-1") + content)
        try:
            yield response
        finally:
            self._release(wire, reusable=response.reusable)

    async def _answered(self, request: bytes) -> tuple[_Wire, Response]:
        """On a kept connection, or on a new one where there is none, or the server had closed it in the meantime: it can't
        have begun then.
        """
        while self._idle:
            wire = self._idle.pop()
            if not wire.alive:
                self._release(wire, reusable=False)
                continue
            try:
                return wire, await self._ask(wire, request)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                break
        wire = await self._connect()
        return wire, await self._ask(wire, request)

    async def _ask(self, wire: _Wire, request: bytes) -> Response:
        try:
            return await wire.ask(request)
        except BaseException:
            self._release(wire, reusable=False)
            raise

    async def _connect(self) -> _Wire:
        try:
            async with asyncio.timeout(self._times.connect):
                reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        except TimeoutError:
            raise httpx.ConnectTimeout("the server can't be reached in time") from None
        except OSError as error:
            raise httpx.ConnectError(str(error)) from None
        wire_socket: socket.socket = writer.get_extra_info("socket")
        for option in self._options:
            wire_socket.setsockopt(*option)
        wire = _Wire(reader, writer, self._times)
        self._all.add(wire)
        return wire

    def _release(self, wire: _Wire, *, reusable: bool) -> None:
        if reusable and wire in self._all:
            wire.idle_since = time.monotonic()
            self._idle.append(wire)
        else:
            wire.abort()
            self._all.discard(wire)
