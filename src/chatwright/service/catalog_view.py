"""What a client may know of a served model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Pricing(msgspec.Struct, frozen=True):
    """What a token costs, as plain decimals: of the prompt, of the answer, of a prompt's part that the cache held."""

    prompt: str
    completion: str
    input_cache_read: str


class ModelCard(msgspec.Struct, frozen=True):
    """One model. `id` is its slug, `created` a Unix time in seconds, lengths are in tokens.

    `supported_parameters` are the fields of a chat request that have an effect with this model and its engine;
    `aliases` are other slugs it answers to; `pricing` None is free.
    """

    id: str
    created: int
    owned_by: str
    name: str
    context_length: int
    max_completion_tokens: int
    supported_features: tuple[str, ...] = ()
    supported_parameters: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    pricing: Pricing | None = None


class Catalog(Protocol):
    """The models that are served now."""

    def models(self) -> Sequence[ModelCard]:
        """In the order in which they shall be listed."""
