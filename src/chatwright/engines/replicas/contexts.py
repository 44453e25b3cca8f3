"""Where contexts lie (the KV of a request's first half), and how they get to whoever continues them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

from chatwright.core.generation import Handoff, TokenChunk
from chatwright.engines.batching.handoff import context_path

MOST_CONTEXTS = 4096
LATE_SECONDS = 5.0
"""How long after it was aborted an engine may still write a context: it ends its step first."""


class Carrier(Protocol):
    """Moves contexts between engines."""

    async def carry(self, context_id: int, source: str, target: str) -> None:
        """Let the engine called `target` read what `source` has kept. Raises ContextNotFound where it is gone, EngineFailed
        where it can't be moved.
        """

    async def discard(self, context_id: int) -> None:
        """Nobody will ask for it again. Raises nothing where it is gone."""


class SharedFolder:
    """Engines that keep contexts in one folder: each reads what any has written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def carry(self, context_id: int, source: str, target: str) -> None:
        """It is there already."""

    async def discard(self, context_id: int) -> None:
        """Delete the file, and once more a little later where it is not there yet."""
        path = context_path(self._folder, context_id)
        try:
            path.unlink()
        except FileNotFoundError:
            asyncio.get_running_loop().call_later(LATE_SECONDS, lambda: path.unlink(missing_ok=True))


class Contexts:
    """Which engine made which context. Without a carrier only that one can read it."""

    def __init__(self, carrier: Carrier | None = None) -> None:
        self._carrier = carrier
        self._makers: OrderedDict[int, str] = OrderedDict()

    def note(self, handoff: Handoff | None, name: str, chunk: TokenChunk) -> None:
        """An engine gave this chunk; with its last one it has kept the context."""
        if handoff is not None and handoff.kind == "context" and chunk.finish is not None:
            self._makers[handoff.context_id] = name
            while len(self._makers) > MOST_CONTEXTS:
                self._makers.popitem(last=False)

    def only_reader(self, handoff: Handoff | None) -> str | None:
        """Who must continue it, where not everybody can."""
        if self._carrier is not None or handoff is None or handoff.kind != "continuation":
            return None
        return self._makers.get(handoff.context_id)

    async def bring(self, handoff: Handoff | None, name: str) -> None:
        """Let this engine read what the request continues. Raises like `Carrier.carry`. A context that was made elsewhere
        is taken to be readable: the engine knows.
        """
        if self._carrier is None or handoff is None or handoff.kind != "continuation":
            return
        maker = self._makers.get(handoff.context_id)
        if maker is not None and maker != name:
            await self._carrier.carry(handoff.context_id, maker, name)

    async def discard(self, context_id: int) -> None:
        """See `Carrier.discard`."""
        self._makers.pop(context_id, None)
        if self._carrier is not None:
            await self._carrier.discard(context_id)
