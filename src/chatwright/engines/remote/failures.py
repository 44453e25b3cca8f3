"""Which error a server's failure is."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import httpx

from chatwright.core.errors import (
    ChatwrightError,
    ContextLengthExceeded,
    EngineFailed,
    InvalidGrammar,
    Overloaded,
    UnsupportedParameter,
)

log = logging.getLogger("chatwright.engine")

SHOWN = 200
"""Characters of a server's own words that a client may see."""
MOST_RETRY_SECONDS = 60.0
_CONTEXT = re.compile(r"context length|maximum model length|max_model_len|too long", re.IGNORECASE)
_GRAMMAR = re.compile(r"grammar", re.IGNORECASE)


def of_status(
    server: str, status: int, body: Any, fields: Mapping[str, str], retry_after: str | None = None
) -> ChatwrightError:
    """The error of a response that isn't 200. `fields` are the server's names of what it may refuse, and ours."""
    message = message_of(body)
    if status in (429, 503):
        return Overloaded(
            f"{server} takes no more requests now; try again in a moment.", retry_after=_seconds(retry_after)
        )
    if status in (400, 413, 422):
        return _refusal(server, message, fields)
    log.error("%s answered %d: %s", server, status, message[:1000])
    if status in (401, 403):
        return EngineFailed(f"{server} refuses this server's key, or the route it needs.")
    if status == 404:
        return EngineFailed(f"{server} has no such model or route.")
    return EngineFailed(f"{server} failed with status {status}.")


def _refusal(server: str, message: str, fields: Mapping[str, str]) -> ChatwrightError:
    """A 400: the client's fault where it is about something the client chose, else ours."""
    if _CONTEXT.search(message):
        return ContextLengthExceeded(f"{server}: {message[:SHOWN]}", param="messages")
    if _GRAMMAR.search(message):
        return InvalidGrammar(
            f"{server} can't follow this grammar: {message[:SHOWN]}", param="response_format"
        )
    for theirs, ours in fields.items():
        if re.search(rf"\b{re.escape(theirs)}\b", message):
            return UnsupportedParameter(f"{server} refused {ours}: {message[:SHOWN]}", param=ours)
    log.error("%s refused a request that it should have understood: %s", server, message[:1000])
    return EngineFailed(f"{server} refused a request that it should have understood.")


def of_transport(server: str, error: httpx.HTTPError) -> ChatwrightError:
    """The error of a connection that failed: to come again where nothing can have been computed yet."""
    log.error("%s: %s: %s", server, type(error).__name__, error)
    if isinstance(error, httpx.PoolTimeout):
        return Overloaded(f"{server} has no free connection; try again in a moment.", retry_after=1.0)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Overloaded(f"{server} can't be reached; try again in a moment.", retry_after=2.0)
    if isinstance(error, httpx.ReadTimeout):
        return EngineFailed(f"{server} said nothing for too long.")
    return EngineFailed(f"{server} broke off the connection.")


def message_of(body: Any) -> str:
    """What an error's body says, in any of the shapes such servers use."""
    if isinstance(body, dict):
        inner = body.get("error", body)
        if isinstance(inner, dict):
            inner = inner.get("message", inner)
        return str(inner)
    return str(body)


def _seconds(text: str | None) -> float:
    """A Retry-After in seconds; one where it isn't a number."""
    try:
        return min(max(float(text or ""), 0.0), MOST_RETRY_SECONDS)
    except ValueError:
        return 1.0
