"""Where one server of another engine is, and how long to wait for it."""

from __future__ import annotations

import msgspec


class Backend(msgspec.Struct, frozen=True):
    """One server. `url` has no /v1; `model` is its name for the model, None for the first it lists.

    `vocab_size`, `context_length` (tokens) and `eos_token_ids` are what our side of the model has. Times are in seconds:
    `silence` the longest pause within an answer, `patience` how long `start` waits for a server that isn't up yet.
    """

    url: str
    vocab_size: int
    context_length: int
    model: str | None = None
    eos_token_ids: tuple[int, ...] = ()
    api_key: str | None = None
    silence: float = 600.0
    connections: int = 512
    patience: float = 600.0
    check_every: float = 5.0
