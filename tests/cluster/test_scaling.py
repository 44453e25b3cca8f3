"""How many replicas a load asks for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from chatwright.cluster.scaling import LoadPolicy, reported
from chatwright.core.engine import EngineStats

POLICY = LoadPolicy(target_requests=10, target_kv_use=0.8)


def context(requests=(), kv_use=(), target=2):
    metrics = {"requests": dict(enumerate(requests)), "kv_use": dict(enumerate(kv_use))}
    return SimpleNamespace(
        current_num_replicas=len(requests), target_num_replicas=target, aggregated_metrics=metrics
    )


@pytest.mark.parametrize(
    ("requests", "kv_use", "wanted"),
    [
        ((10, 10), (0.1, 0.1), 2),
        ((10, 11), (0.1, 0.1), 3),
        ((40, 0), (0.1, 0.0), 4),
        ((1, 1), (0.8, 0.8), 2),
        ((1, 1), (0.8, 0.81), 3),
        ((0, 0, 0), (0.0, 0.0, 0.0), 0),
        ((1, 0, 0), (0.2, 0.0, 0.0), 1),
    ],
)
def test_the_worse_of_requests_and_kv_decides(requests, kv_use, wanted):
    assert POLICY(context(requests, kv_use)) == (wanted, {})


def test_silence_changes_nothing():
    assert POLICY(context(target=3)) == (3, {})
    silent = context(target=5)
    silent.aggregated_metrics = None
    assert POLICY(silent) == (5, {})


def test_a_replica_reports_who_runs_and_waits_and_its_blocks():
    stats = EngineStats(running=3, waiting=4, kv_blocks_used=5, kv_blocks_total=20)
    assert reported(stats) == {"requests": 7.0, "kv_use": 0.25}
    assert reported(EngineStats()) == {"requests": 0.0, "kv_use": 0.0}
