"""A model's engine processes: one, or several that stand behind one `Engine`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from chatwright.core.engine import Engine
from chatwright.engines.process.options import EngineOptions
from chatwright.engines.replicas.contexts import Contexts, SharedFolder
from chatwright.engines.replicas.pools import PooledEngine
from chatwright.engines.replicas.replica_set import ReplicaSet
from chatwright.model_config import ModelSettings

Make = Callable[[EngineOptions, int], Engine]
"""Makes the engine of one process, not started; the number tells it from its fellows, in every API process alike."""


def process_count(one: ModelSettings) -> int:
    """How many engine processes a model has."""
    return one.replicas if one.pools is None else one.pools.prefill + one.pools.decode


def replicated(options: EngineOptions, one: ModelSettings, make: Make) -> Engine:
    """The engine of a model whose processes share the machine; `options` are those of a process that has it alone."""
    count = process_count(one)
    if count == 1:
        return make(options, 0)
    share = share_of(options, one)
    engines = [make(share, number) for number in range(count)]
    carrier = SharedFolder(Path(options.handoff_folder)) if options.handoff_folder else None
    if one.pools is None:
        members = {f"replica-{number}": engine for number, engine in enumerate(engines)}
        return ReplicaSet(members, contexts=Contexts(carrier))
    assert carrier is not None, "pools hand contexts over"
    first, rest = engines[: one.pools.prefill], engines[one.pools.prefill :]
    return PooledEngine(
        {f"prefill-{number}": engine for number, engine in enumerate(first)},
        {f"decode-{number}": engine for number, engine in enumerate(rest)},
        carrier,
        serves_contexts=options.handoff_requests,
    )


def share_of(options: EngineOptions, one: ModelSettings) -> EngineOptions:
    """What each process gets: what is set is set for each, what isn't is divided."""
    count = process_count(one)
    return msgspec.structs.replace(
        options,
        threads=one.threads or max(1, options.threads // count),
        kv_bytes=options.kv_bytes if one.kv_cache_gib else options.kv_bytes // count,
    )


def resident_bytes(options: EngineOptions, one: ModelSettings, others: int) -> int:
    """Memory of all processes: KV, and `others` bytes in each."""
    return process_count(one) * (share_of(options, one).kv_bytes + others)
