"""The one table from errors to status lines, and the body every error has (contract 9)."""

from __future__ import annotations

import logging
import math
from typing import NamedTuple

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatwright.api.connection import ClientDisconnected
from chatwright.api.request_id import request_id_of
from chatwright.core import errors

_log = logging.getLogger(__name__)
_MINUTE = 60.0
_LONGEST_SDK_WAIT = 120.0
"""OpenAI's clients don't wait longer than this; a retry of theirs would come too early."""


class Status(NamedTuple):
    """The status line of an error class, and the `type` in its body. `code` replaces the class's own one."""

    status: int
    type: str
    code: str | None = None


TABLE: dict[type[errors.ChatwrightError], Status] = {
    errors.InvalidRequest: Status(400, "invalid_request_error"),
    errors.InvalidApiKey: Status(401, "authentication_error"),
    errors.BudgetExceeded: Status(402, "billing_error"),
    errors.PermissionDenied: Status(403, "permission_error"),
    errors.ModelNotFound: Status(404, "invalid_request_error"),
    errors.NotFound: Status(404, "invalid_request_error"),
    errors.MethodNotAllowed: Status(405, "invalid_request_error"),
    errors.RequestTooLarge: Status(413, "invalid_request_error"),
    errors.RateLimited: Status(429, "rate_limit_error"),
    errors.Overloaded: Status(503, "server_error"),
    errors.EngineFailed: Status(500, "server_error", "internal_error"),
    errors.DeadlineExceeded: Status(504, "server_error"),
    errors.InternalError: Status(500, "server_error"),
}
"""Each concrete class has exactly one row, its own or that of a class above it."""


class ErrorObject(msgspec.Struct, frozen=True):
    """OpenAI's error object. `param` is the dotted path of the field at fault."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every response that isn't a success."""

    error: ErrorObject


def status_of(error: errors.ChatwrightError) -> Status:
    """The row of the nearest class in the table."""
    for cls in type(error).__mro__:
        if cls in TABLE:
            return TABLE[cls]
    return TABLE[errors.InternalError]


def body_of(error: errors.ChatwrightError) -> bytes:
    """The error as JSON."""
    row = status_of(error)
    code = row.code or error.code
    return msgspec.json.encode(ErrorBody(ErrorObject(error.message, row.type, error.param, code)))


def response_of(error: errors.ChatwrightError, headers: dict[str, str] | None = None) -> Response:
    """The whole response to an error that came before the status line."""
    status = status_of(error).status
    return Response(
        body_of(error),
        status_code=status,
        headers={**_headers(error, status), **(headers or {})},
        media_type="application/json",
    )


def _headers(error: errors.ChatwrightError, status: int) -> dict[str, str]:
    headers: dict[str, str] = {}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    wait = error.retry_after
    hopeless = status == 429 and wait is None  # no time will make it fit
    if status in (429, 503) or wait is not None:
        wait = (_MINUTE if hopeless else 1.0) if wait is None else max(wait, 0.001)
        headers["retry-after"] = str(math.ceil(wait))
        headers["retry-after-ms"] = str(math.ceil(wait * 1000))
    if hopeless or isinstance(error, errors.InternalError) or (wait is not None and wait > _LONGEST_SDK_WAIT):
        headers["x-should-retry"] = "false"
    return headers


def known(error: Exception, request_id: str) -> errors.ChatwrightError:
    """The error itself, or what the client may know of one that nobody foresaw. The latter is logged."""
    if isinstance(error, errors.ChatwrightError):
        return error
    _log.error("unexpected error in request %s", request_id, exc_info=error)
    return errors.InternalError(f"The server failed. The failure is logged under request id {request_id}.")


async def on_http_exception(request: Request, error: Exception) -> Response:
    """The web framework's own errors, in our shape."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return response_of(errors.NotFound("There is nothing at this path."))
    if error.status_code == 405:
        return response_of(errors.MethodNotAllowed("This path has other methods."), dict(error.headers or {}))
    if error.status_code == 413:
        return response_of(errors.RequestTooLarge("The request body is too large."))
    if error.status_code < 500:
        return response_of(errors.InvalidRequest(str(error.detail)))
    return response_of(known(error, request_id_of(request.scope)))


class ErrorBoundary:
    """ASGI middleware: whatever is raised below becomes a response, and nothing leaks out of it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve; answer errors raised before the status line, cut the connection after it."""
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watch if scope["type"] == "http" else send)
        except ClientDisconnected:
            return
        except Exception as error:
            if scope["type"] != "http":
                raise
            response = response_of(known(error, request_id_of(scope)))
            if not started:
                await response(scope, receive, send)
