"""What is to run on a cluster, from the settings alone."""

from __future__ import annotations

import pytest

from chatwright.cluster.plan import cluster_settings, planned_models
from chatwright.config import ConfigError, Settings

BACKENDS = [{"url": "http://gpu:8000"}]


def settings(*models, **more):
    return Settings(models=list(models) or [{"model": "m"}], **more)


def planned(*models, overrides=None, **more):
    return planned_models(settings(*models, **more), "cw", overrides or {})


def test_models_of_other_servers_and_given_answers_have_no_replicas(tmp_path):
    script = tmp_path / "s.json"
    found = planned(
        {"model": "a/B-c"},
        {"model": "v", "engine": "vllm", "backends": BACKENDS},
        {"model": "s", "engine": "scripted", "script": script},
    )
    (one,) = found
    assert one.settings.model == "a/B-c"
    assert one.app.startswith("cw-model-b-c-")


def test_a_model_whose_replicas_start_servers_has_replicas_which_its_command_makes_others():
    def started(*arguments):
        ray = {"command": ["vllm", "serve", "--port", "{port}", *arguments], "labels": {"engine": "gpu"}}
        (one,) = planned({"model": "v", "engine": "vllm", "ray": ray})
        return one

    assert started().app == started().app
    assert started().app != started("--dtype", "float16").app


@pytest.mark.parametrize(
    ("more", "same_digest", "same_key"),
    [
        ({}, True, True),
        ({"aliases": ["x"], "price": {"input": 1}}, True, True),
        ({"ray": {"min_replicas": 3}}, False, True),
        ({"threads": 3}, False, True),
        ({"kv_cache_gib": 2.0}, False, True),
        ({"context_length": 512}, False, False),
        ({"engine": "openvino"}, False, False),
    ],
)
def test_what_makes_replicas_others_and_what_lets_them_stand_for_each_other(more, same_digest, same_key):
    (before,), (after,) = planned({"model": "m"}), planned({"model": "m"} | more)
    assert (before.digest == after.digest) is same_digest
    assert (before.key == after.key) is same_key
    assert (before.app == after.app) is same_key


def test_settings_of_the_engine_make_other_replicas_those_of_the_api_do_not():
    digests = {planned(step_tokens=tokens)[0].digest for tokens in (256, 512, 512)}
    assert len(digests) == 2
    assert planned(max_body_mib=2)[0] == planned()[0]
    assert planned(overrides={"kind": "simulated"})[0].digest != planned()[0].digest


def test_settings_cross_as_plain_values(tmp_path, monkeypatch):
    file = tmp_path / "c.toml"
    file.write_text('webhook_secret = "0123456789abcdef"\n[[models]]\nmodel = "m"\n')
    from chatwright.config import load

    crossed = cluster_settings(load(file, port=9), 3)
    assert type(crossed) is Settings
    assert crossed.webhook_secret is not None
    assert crossed.webhook_secret.get_secret_value() == "0123456789abcdef"
    assert (crossed.port, crossed.workers) == (9, 3)


def test_home_crosses_only_where_it_was_given(tmp_path, monkeypatch):
    given = cluster_settings(settings(home=tmp_path), 1)
    assert given.home == tmp_path
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "here"))
    mine = settings()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "there"))
    assert cluster_settings(mine, 1).home == tmp_path / "there" / "chatwright"


@pytest.mark.parametrize(
    ("models", "more", "replicas", "said"),
    [
        ({"model": "m"}, {"memory_gib": 4}, 1, "memory_gib"),
        ({"model": "m", "replicas": 2}, {}, 1, "min_replicas"),
        ({"model": "m", "pools": {}, "ray": {"min_replicas": 2}}, {}, 1, "pools"),
        ({"model": "m", "limits": {"requests_per_minute": 5}}, {}, 2, "redis_url"),
        ({"model": "v", "engine": "vllm", "backends": BACKENDS, "ray": {"gpus": 1}}, {}, 1, "ray places"),
    ],
)
def test_what_a_cluster_cannot_honour_is_refused(models, more, replicas, said):
    with pytest.raises(ConfigError, match=said):
        cluster_settings(settings(models, **more), replicas)


def test_a_model_with_pools_is_two_sets_of_replicas():
    first, second = planned({"model": "m", "pools": {"prefill": 1, "decode": 3}})
    assert (first.least, first.most, second.least, second.most) == (1, 1, 3, 3)
    assert first.key == first.key.removesuffix("/prefill") + "/prefill"
    assert second.key == second.key.removesuffix("/decode") + "/decode"
    assert first.app != second.app


def test_a_model_without_a_maximum_does_not_scale():
    (fixed,), (scaled,) = (
        planned({"model": "m", "ray": {"min_replicas": 2} | more}) for more in ({}, {"max_replicas": 5})
    )
    assert (fixed.least, fixed.most) == (2, 2)
    assert (scaled.least, scaled.most) == (2, 5)
