"""Contexts (the KV of a request's first half) between nodes: each node keeps its own, Ray's object store carries them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from chatwright.core.errors import ContextNotFound
from chatwright.core.generation import Handoff
from chatwright.engines.batching.handoff import TTL_SECONDS, context_path
from chatwright.engines.replicas.contexts import Contexts


class ContextFiles:
    """The contexts of one node, in the folder its engines use. One of it runs there as an actor."""

    def __init__(self, folder: str) -> None:
        """Sweeps what nodes of the past have left beside it, when it has expired."""
        self._folder = Path(folder)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        oldest = time.time() - TTL_SECONDS
        for path in self._folder.parent.glob("*/*"):
            if path.is_file() and path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)

    def export(self, context_id: int) -> bytes:
        """A context whole; as an actor's result it lies in the object store of this node. Raises ContextNotFound."""
        try:
            return context_path(self._folder, context_id).read_bytes()
        except OSError:
            raise _not_found(context_id) from None

    def take(self, context_id: int, data: bytes) -> None:
        """Keep a context that another node has made. Raises OSError where the disk doesn't take it."""
        path = context_path(self._folder, context_id)
        part = path.with_suffix(f".{os.getpid()}.part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        part.replace(path)

    def holds(self, context_id: int) -> bool:
        """Whether it is here."""
        return context_path(self._folder, context_id).exists()

    def discard(self, context_id: int) -> None:
        """Nobody will ask for it again."""
        context_path(self._folder, context_id).unlink(missing_ok=True)


class Nodes(Protocol):
    """What the cluster does with contexts, by node."""

    async def move(self, context_id: int, source: str, target: str) -> None:
        """Copy it. Raises ContextNotFound where it is gone, or its node; EngineFailed where the target can't take it."""

    async def holds(self, context_id: int, node: str) -> bool:
        """Whether a node has it; False where the node doesn't answer."""

    async def discard(self, context_id: int, node: str) -> None:
        """Raises nothing."""


class NodeCarrier:
    """A `Carrier` between members, by the nodes they are on. `node_of` is theirs, also after they have left."""

    def __init__(self, nodes: Nodes, node_of: Callable[[str], str]) -> None:
        self._nodes = nodes
        self._node_of = node_of
        self._copies: dict[int, set[str]] = {}

    async def carry(self, context_id: int, source: str, target: str) -> None:
        """See `Carrier.carry`: nothing to do within a node."""
        await self.copy(context_id, self._node_of(source), self._node_of(target))

    async def copy(self, context_id: int, source: str, target: str) -> None:
        """From node to node."""
        self._copies.setdefault(context_id, set()).update((source, target))
        if source != target:
            await self._nodes.move(context_id, source, target)

    async def discard(self, context_id: int) -> None:
        """See `Carrier.discard`. What was never carried expires by itself."""
        await asyncio.gather(
            *(self._nodes.discard(context_id, node) for node in self._copies.pop(context_id, ()))
        )


class ClusterContexts(Contexts):
    """Contexts that another API process may have had made: those are looked for on every node."""

    def __init__(
        self, nodes: Nodes, node_of: Callable[[str], str], everywhere: Callable[[], Iterable[str]]
    ) -> None:
        self._nodes = nodes
        self._node_of = node_of
        self._everywhere = everywhere
        self._between = NodeCarrier(nodes, node_of)
        super().__init__(self._between)

    async def bring(self, handoff: Handoff | None, name: str) -> None:
        """See `Contexts.bring`."""
        if handoff is None or handoff.kind != "continuation" or handoff.context_id in self._makers:
            await super().bring(handoff, name)
            return
        target, others = self._node_of(name), set(self._everywhere())
        if target in others and await self._nodes.holds(handoff.context_id, target):
            return
        others.discard(target)
        for node in others:
            if await self._nodes.holds(handoff.context_id, node):
                await self._between.copy(handoff.context_id, node, target)
                return
        # nobody has it: the engine says so in its own words


def _not_found(context_id: int) -> ContextNotFound:
    return ContextNotFound(
        f"The context {context_id} has expired or was never made; contexts live {TTL_SECONDS:g} seconds.",
        param="disaggregated_params.ctx_request_id",
    )
