"""How many replicas a model should have, from what its replicas report. Ray Serve calls this in its controller."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from chatwright.core.engine import EngineStats

REQUESTS, KV_USE = "requests", "kv_use"
"""Names under which a replica reports its load."""


class ScalingContext(Protocol):
    """What we read of Serve's `AutoscalingContext`: metrics by name, then replica."""

    current_num_replicas: int
    target_num_replicas: int

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None:
        """Each replica's metrics over Serve's window."""


def reported(stats: EngineStats) -> dict[str, float]:
    """A replica's load: requests that run and wait, and the part of its KV blocks in use."""
    return {
        REQUESTS: float(stats.running + stats.waiting),
        KV_USE: stats.kv_blocks_used / stats.kv_blocks_total if stats.kv_blocks_total else 0.0,
    }


class LoadPolicy:
    """As many replicas as bring the requests and the KV use of each down to their targets; Serve applies bounds and delays."""

    def __init__(self, target_requests: float, target_kv_use: float) -> None:
        self._targets = {REQUESTS: target_requests, KV_USE: target_kv_use}

    def __call__(self, context: ScalingContext) -> tuple[float, dict[str, Any]]:
        """The number wanted, which may be a fraction, and the state that Serve keeps for us: none."""
        metrics = context.aggregated_metrics or {}
        if not any(metrics.get(name) for name in self._targets):
            return context.target_num_replicas, {}  # nobody has said anything yet
        wanted = (sum(metrics.get(name, {}).values()) / target for name, target in self._targets.items())
        return float(math.ceil(round(max(wanted), 6))), {}
