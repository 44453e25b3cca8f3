"""HTTP/1.1 on a connection: uvicorn's, with a bound on what may come before a body, and refusals in the shape of all others."""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chatwright.api.errors import response_of
from chatwright.api.limits import HEAD
from chatwright.core.errors import ChatwrightError, InvalidValue, RequestTooLarge


class HttpProtocol(HttpToolsProtocol):
    """One connection. The parser itself would collect headers without end, and from anybody."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._too_large = False

    def data_received(self, data: bytes) -> None:
        """Some of a request. A chunk in which its head begins isn't counted: the end of another's body may be in it."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD.maximum and not self.transport.is_closing():
            self._refuse(_too_large())

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """It is whole, and is measured exactly. What is raised here ends in `send_400_response`."""
        self._in_head = False
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > HEAD.maximum:
            self._too_large = True
            raise ValueError("the head is too large")
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What the parser couldn't take is refused, and the connection ends."""
        self._refuse(
            _too_large() if self._too_large else InvalidValue("This is not a valid HTTP/1.1 request.")
        )

    def _refuse(self, error: ChatwrightError) -> None:
        response = response_of(error, {"x-request-id": f"req_{uuid.uuid4().hex}", "connection": "close"})
        status = HTTPStatus(response.status_code)
        head = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
        head += [name + b": " + value for name, value in response.raw_headers]
        self.transport.write(b"\r\n".join([*head, b"", bytes(response.body)]))
        self.transport.close()


def _too_large() -> RequestTooLarge:
    return RequestTooLarge(f"The request line and headers are larger than {HEAD.maximum} bytes.")
