"""What the first halves of requests left behind for the second ones, by context id (contract, section 8)."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from chatwright.core.errors import ContextNotFound

KEPT_SECONDS = 60.0
MOST = 10_000


class Contexts:
    """Shared by all backends of a model within one process: the second half is often served by another one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[int, tuple[float, dict[str, Any]]] = OrderedDict()

    def keep(self, context_id: int, handoff: dict[str, Any]) -> None:
        """Remember it for a minute."""
        self._kept[context_id] = (self._clock() + KEPT_SECONDS, handoff)
        while self._kept and (len(self._kept) > MOST or next(iter(self._kept.values()))[0] < self._clock()):
            self._kept.popitem(last=False)

    async def carry(self, context_id: int, source: str, target: str) -> None:
        """Nothing to do: servers fetch KV blocks from each other, by what is kept here (`replicas.contexts.Carrier`)."""

    async def discard(self, context_id: int) -> None:
        """Nobody will ask for it again."""
        self._kept.pop(context_id, None)

    def take(self, context_id: int) -> dict[str, Any]:
        """Give it out, once. Raises ContextNotFound."""
        until, handoff = self._kept.pop(context_id, (0.0, {}))
        if until < self._clock():
            raise ContextNotFound(
                "This context has expired, was continued already, or is another server process's.",
                param="disaggregated_params.ctx_request_id",
            )
        return handoff
