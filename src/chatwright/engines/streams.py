"""Chunks on their way to whoever awaits them: one queue a request, on one event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable

from chatwright.core.errors import ChatwrightError, InternalError
from chatwright.core.generation import TokenChunk


class _Mailbox:
    """A queue with one reader, which `asyncio.Queue` would make twice as dear: every token goes through one."""

    __slots__ = ("_items", "_waiter")

    def __init__(self) -> None:
        self._items: deque[TokenChunk | ChatwrightError] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: TokenChunk | ChatwrightError) -> None:
        self._items.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> TokenChunk | ChatwrightError:
        while not self._items:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._items.popleft()


class RequestStreams:
    """Routes chunks by request id. A queue never holds more than its request's max_tokens, so a slow reader
    stalls nobody.
    """

    def __init__(self) -> None:
        self._boxes: dict[str, _Mailbox] = {}

    def __len__(self) -> int:
        return len(self._boxes)

    def put(self, request_id: str, item: TokenChunk | ChatwrightError) -> None:
        """Deliver; dropped where the request has gone."""
        box = self._boxes.get(request_id)
        if box is not None:
            box.put(item)

    def fail_all(self, error: ChatwrightError) -> None:
        """End every request with this error."""
        for box in self._boxes.values():
            box.put(error)

    async def follow(
        self, request_id: str, submit: Callable[[], None], abort: Callable[[], None]
    ) -> AsyncGenerator[TokenChunk]:
        """Submit, then yield until the last chunk; aborts where it is closed before that. Raises what was
        put as an error.
        """
        if request_id in self._boxes:
            raise InternalError("Another request with the same id is being served.")
        box = self._boxes[request_id] = _Mailbox()
        ended = True  # nothing to abort until the submission has gone out
        try:
            submit()
            ended = False
            while not ended:
                item = await box.get()
                ended = isinstance(item, ChatwrightError) or item.finish is not None
                if isinstance(item, ChatwrightError):
                    raise item
                yield item
        finally:
            del self._boxes[request_id]
            if not ended:
                abort()
