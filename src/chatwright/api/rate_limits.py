"""The x-ratelimit headers: OpenAI's six, from the tightest limits of the caller (contract 10.6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatwright.accounts.account import Account
from chatwright.accounts.buckets import BucketState
from chatwright.accounts.limits import LimitReached, RateLimitStatus
from chatwright.core.errors import Overloaded

_STATE = "rate_limits"


def remember(scope: Scope, status: RateLimitStatus | Callable[[], RateLimitStatus]) -> None:
    """The response to this request will carry them, whatever it turns out to be; as they are when it begins."""
    scope["state"][_STATE] = status


@contextmanager
def remembered_refusal(scope: Scope) -> Iterator[None]:
    """A limit that refuses tells its state in the headers too."""
    try:
        yield
    except LimitReached as refusal:
        remember(scope, refusal.status)
        raise


class RateLimitHeaders:
    """ASGI middleware: looks the caller's limits up for responses whose handler did not."""

    def __init__(self, app: ASGIApp, limits: Callable[[Account], Awaitable[RateLimitStatus]]) -> None:
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._look_up(scope)
            await send(message)

        await self.app(scope, receive, send_with_limits)

    async def _look_up(self, scope: Scope) -> None:
        account = scope["state"].get("account")
        if isinstance(account, Account) and _STATE not in scope["state"]:
            try:
                remember(scope, await self.limits(account))
            except Overloaded:
                return  # the answer is worth more than its headers


def headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """What was remembered last; nothing for a caller without limits."""
    found = scope["state"].get(_STATE)
    status = found() if callable(found) else found
    if not isinstance(status, RateLimitStatus):
        return []
    return [*_headers("requests", status.requests), *_headers("tokens", status.tokens)]


def _headers(kind: str, state: BucketState | None) -> list[tuple[bytes, bytes]]:
    if state is None:
        return []
    values = {"limit": str(state.limit), "remaining": str(state.remaining), "reset": duration(state.reset_ms)}
    return [(f"x-ratelimit-{name}-{kind}".encode(), value.encode()) for name, value in values.items()]


def duration(milliseconds: int) -> str:
    """As OpenAI writes them: "120ms", "1.5s", "6m0s", "1h0m3s"."""
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, left = divmod(milliseconds, 60_000)
    seconds = f"{left / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds
