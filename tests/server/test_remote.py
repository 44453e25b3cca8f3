"""From `backends` to an engine."""

from __future__ import annotations

import pytest

from chatwright.config import ConfigError, Settings
from chatwright.engines.remote.engine import RemoteEngine
from chatwright.engines.replicas.pools import PooledEngine
from chatwright.engines.replicas.replica_set import ReplicaSet
from chatwright.model_config import ModelSettings
from chatwright.server.remote import DIALECTS, remote_engine


@pytest.fixture
def engine(default_tokenizer):
    def make(*backends, engine="vllm", **settings):
        one = ModelSettings(model="m", engine=engine, backends=list(backends))
        return remote_engine(one, Settings(models=[one], **settings), default_tokenizer, 100)

    return make


def at(number: int, **members) -> dict:
    return {"url": f"http://host-{number}:8000", **members}


@pytest.mark.parametrize("kind", DIALECTS)
def test_one_server_is_one_engine(engine, kind):
    assert isinstance(engine(at(1), engine=kind), RemoteEngine)


def test_several_servers_are_one_set(engine):
    made = engine(at(1), at(2))
    assert isinstance(made, ReplicaSet)
    assert set(made.members) == {"http://host-1:8000/", "http://host-2:8000/"}


@pytest.mark.parametrize("disaggregation", [True, False])
def test_pools_are_two_sets(engine, disaggregation):
    made = engine(
        at(1, pool="prefill"), at(2, pool="decode"), at(3, pool="decode"), disaggregation=disaggregation
    )
    assert isinstance(made, PooledEngine)
    assert (len(made.prefill.members), len(made.decode.members)) == (1, 2)


@pytest.mark.parametrize(
    "backends",
    [
        (at(1), at(1)),
        (at(1, pool="prefill"),),
        (at(1, pool="prefill"), at(2)),
        (at(1, pool="prefill"), at(2, pool="decode"), at(3)),
    ],
)
def test_settings_that_make_no_sense_are_refused(engine, backends):
    with pytest.raises(ConfigError, match="backends"):
        engine(*backends)


def test_servers_that_replicas_start_are_for_a_cluster(default_tokenizer):
    one = ModelSettings(model="m", engine="vllm", ray={"command": ["vllm", "{port}"]})
    with pytest.raises(ConfigError, match="chatwright deploy"):
        remote_engine(one, Settings(models=[one]), default_tokenizer, 100)
