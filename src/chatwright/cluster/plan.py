"""What is to run on the cluster, from the settings alone: which models need replicas, what makes them others, what can't be."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec

import chatwright
from chatwright.config import ConfigError, Settings
from chatwright.model_config import WIRE_ENGINES, ModelSettings

_SAME_TOKENS = {"aliases", "price", "limits", "ray", "threads", "kv_cache_gib"}
"""Settings that may differ between replicas which stand for each other."""
_ENGINE_SETTINGS = (
    "home", "max_waiting_requests", "max_waiting_tokens", "max_running_requests", "step_tokens", "prefix_cache",
    "speculation", "disaggregation", "shutdown_seconds",
)  # fmt: skip
"""Settings of the server that an engine process is started with."""


class PlannedModel(msgspec.Struct, frozen=True):
    """Replicas of a model, or of one of its pools. `key` is what they are found under, `app` the Serve application they are,
    another one as soon as they can't stand for each other; `digest` changes with anything about them. There are `least` to
    `most` of them.
    """

    settings: ModelSettings
    key: str
    app: str
    digest: str
    least: int
    most: int


def cluster_settings(settings: Settings, api_replicas: int) -> Settings:
    """The settings of each API process there: plain values, `home` only where it was given, since nodes have homes of their own.
    Raises ConfigError for what a cluster can't honour.
    """
    if settings.memory_gib is not None:
        raise ConfigError(
            "memory_gib loads models on demand in one process: leave it out, replicas are placed by [models.ray]"
        )
    for one in settings.models:
        if one.replicas > 1:
            raise ConfigError(
                f"models: {one.model}: replicas is for one machine; set min_replicas in [models.ray]"
            )
        if one.ray.model_fields_set and not has_replicas(one):
            raise ConfigError(f"models: {one.model}: ray places replicas, and this model has none of its own")
        if one.pools is not None and {"min_replicas", "max_replicas"} & one.ray.model_fields_set:
            raise ConfigError(f"models: {one.model}: with pools, their numbers are those of [models.pools]")
    if api_replicas > 1 and settings.redis_url is None and any(one.limits.given for one in settings.models):
        raise ConfigError(
            f"models have limits and there are {api_replicas} API replicas: set redis_url, where they can keep them"
        )
    values: dict[str, Any] = {name: getattr(settings, name) for name in Settings.model_fields}
    if "home" not in settings.model_fields_set:
        del values["home"]
    return Settings(**values | {"workers": api_replicas})


def planned_models(settings: Settings, name: str, overrides: dict[str, object]) -> list[PlannedModel]:
    """The models that run on nodes of the cluster: all but those of other servers and given answers."""
    return [
        _planned(one, pool, settings, name, overrides)
        for one in settings.models
        if has_replicas(one)
        for pool in ((None,) if one.pools is None else ("prefill", "decode"))
    ]


def has_replicas(one: ModelSettings) -> bool:
    """Whether its engine runs apart from the API, on nodes that Ray chooses."""
    return bool(one.ray.command) or one.engine not in (*WIRE_ENGINES, "scripted")


def model_key(one: ModelSettings) -> str:
    """What makes replicas give other tokens, or none, for the same request."""
    return _digest(one.model_dump_json(exclude=_SAME_TOKENS), *one.ray.command)


def pool_key(key: str, pool: str | None) -> str:
    """What the replicas of a model's pool are found under."""
    return key if pool is None else f"{key}/{pool}"


def _planned(
    one: ModelSettings, pool: str | None, settings: Settings, name: str, overrides: dict[str, object]
) -> PlannedModel:
    everything = [
        one.model_dump_json(exclude={"aliases", "price", "limits"}),
        settings.model_dump_json(include=set(_ENGINE_SETTINGS)),
        chatwright.__version__,
        repr(sorted(overrides.items())),
    ]
    slug = re.sub(r"[^a-z0-9]+", "-", Path(one.model).name.lower()).strip("-")
    app = "-".join(filter(None, (name, "model", slug, pool, model_key(one))))
    if one.pools is not None and pool is not None:
        least = most = one.pools.prefill if pool == "prefill" else one.pools.decode
    else:
        least, most = one.ray.min_replicas, one.ray.max_replicas or one.ray.min_replicas
    return PlannedModel(one, pool_key(model_key(one), pool), app, _digest(*everything), least, most)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
