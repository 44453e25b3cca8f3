"""What a model's processes are, and what each gets of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatwright.core.engine import Engine
from chatwright.engines.process.client import ProcessEngine
from chatwright.engines.process.options import EngineOptions
from chatwright.engines.replicas.pools import PooledEngine
from chatwright.engines.replicas.replica_set import ReplicaSet
from chatwright.model_config import ModelSettings, PoolSettings
from chatwright.server.replication import replicated, resident_bytes, share_of

OPTIONS = EngineOptions("simulated", "model", 128, threads=8, kv_bytes=1 << 20, handoff_folder="/contexts")


class Made:
    """Notes what is made."""

    def __init__(self) -> None:
        self.options: list[tuple[int, EngineOptions]] = []

    def __call__(self, options: EngineOptions, number: int) -> Engine:
        self.options.append((number, options))
        return ProcessEngine(options)


def settings(**members: object) -> ModelSettings:
    return ModelSettings.model_validate({"model": "m", **members})


def test_one_process_stands_for_itself() -> None:
    made = Made()
    assert isinstance(replicated(OPTIONS, settings(), made), ProcessEngine)
    assert made.options == [(0, OPTIONS)]


def test_replicas_divide_the_machine() -> None:
    made = Made()
    engine = replicated(OPTIONS, settings(replicas=3), made)
    assert isinstance(engine, ReplicaSet)
    assert list(engine.members) == ["replica-0", "replica-1", "replica-2"]
    assert [number for number, _ in made.options] == [0, 1, 2]
    assert {(each.threads, each.kv_bytes) for _, each in made.options} == {(2, (1 << 20) // 3)}


def test_what_is_set_is_set_for_each() -> None:
    one = settings(replicas=2, threads=7, kv_cache_gib=1)
    assert (share_of(OPTIONS, one).threads, share_of(OPTIONS, one).kv_bytes) == (7, 1 << 20)
    assert share_of(OPTIONS, settings(replicas=16)).threads == 1, "never none"


def test_memory_is_that_of_all_processes() -> None:
    assert resident_bytes(OPTIONS, settings(), 10) == (1 << 20) + 10
    assert resident_bytes(OPTIONS, settings(replicas=2), 10) == (1 << 20) + 20
    assert resident_bytes(OPTIONS, settings(replicas=2, kv_cache_gib=1), 10) == (2 << 20) + 20


def test_pools_are_counted_from_the_first_process_on() -> None:
    made = Made()
    engine = replicated(OPTIONS, settings(pools=PoolSettings(prefill=1, decode=3)), made)
    assert isinstance(engine, PooledEngine)
    assert list(engine.prefill.members) == ["prefill-0"]
    assert list(engine.decode.members) == ["decode-0", "decode-1", "decode-2"]
    assert {(each.threads, each.kv_bytes) for _, each in made.options} == {(2, 1 << 18)}


def test_a_scripted_engine_has_no_processes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="scripted engine has none"):
        settings(engine="scripted", script=tmp_path / "script.json", replicas=2)
