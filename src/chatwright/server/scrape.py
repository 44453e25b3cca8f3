"""What /metrics gives: this process's counts, or those of all API processes, and the engines as they are now."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chatwright.core.engine import Engine
from chatwright.engines.replicas.pools import PooledEngine
from chatwright.engines.replicas.replica_set import ReplicaSet
from chatwright.service.catalog import Catalog
from chatwright.telemetry.entry import RequestEntry
from chatwright.telemetry.exposition import Exposition
from chatwright.telemetry.observer import RequestCounter
from chatwright.telemetry.shared_counts import SharedCounts

WRITE_SECONDS = 1.0


class Scrape:
    """`folder` is where the processes of one server leave their counts; None where there is only this one."""

    def __init__(self, catalog: Catalog, counter: RequestCounter, folder: Path | None, name: str) -> None:
        self._catalog = catalog
        self._counter = counter
        self._shared = None if folder is None else SharedCounts(folder, name)

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """All metrics and their content type."""
        models = self._catalog.served()
        stats = await asyncio.gather(*(model.engine.stats() for model in models))
        counts = self._counter.counts
        if self._shared is not None:
            counts = await asyncio.to_thread(self._shared.sum, counts)
        engines = {model.card.id: one for model, one in zip(models, stats, strict=True)}
        ready = {model.card.id: model.engine.ready for model in models}
        replicas = {model.card.id: _members_ready(model.engine) for model in models}
        return Exposition(counts, engines, ready, replicas).encode(accept)

    def count_response(self, entry: RequestEntry) -> None:
        """A sink: count answers by status."""
        responses = self._counter.counts.responses
        status = "none" if entry.status is None else str(entry.status)
        responses[status] = responses.get(status, 0) + 1

    async def keep_writing(self) -> None:
        """Leave the counts for the other processes, again and again, until cancelled."""
        while self._shared is not None:
            self._shared.write(self._counter.counts)
            await asyncio.sleep(WRITE_SECONDS)

    def write(self) -> None:
        """Leave the counts once more, at the end."""
        if self._shared is not None:
            self._shared.write(self._counter.counts)


def _members_ready(engine: Engine) -> dict[str, bool]:
    """By replica; empty for an engine that is one. A URL is shown without its password."""
    if not isinstance(engine, ReplicaSet | PooledEngine):
        return {}
    return {name.rpartition("@")[2]: member.engine.ready for name, member in engine.members.items()}
