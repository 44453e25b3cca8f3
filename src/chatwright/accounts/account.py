"""The caller, once its key is known."""

from __future__ import annotations

import msgspec


class KeyLimits(msgspec.Struct, frozen=True):
    """How fast a key, a project or a model may be used. None is no limit; zero refuses everything.

    `tokens_per_minute` counts input and output; cached input counts fully.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None


class Account(msgspec.Struct, frozen=True):
    """An authenticated key. `cache_group` salts the prefix cache: only accounts of one group share blocks.

    `service_tiers` are those its requests may ask for, None the ones that every key has.
    `has_budget` tells that an enforced budget watches the key or its project. `models` None allows every
    model. `limits` are the key's own, `project_limits` are shared by the project's keys; `weight` is the
    project's share under load. `stores_prompts` tells that its project wants prompts and answers kept.
    """

    key_id: str
    name: str
    project_id: str
    cache_group: str
    scopes: frozenset[str] = frozenset({"inference"})
    models: frozenset[str] | None = None
    weight: float = 1.0
    limits: KeyLimits = KeyLimits()
    project_limits: KeyLimits = KeyLimits()
    service_tiers: frozenset[str] | None = None
    has_budget: bool = False
    stores_prompts: bool = False
