"""What the service hands to the wire: an answer that is being made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from chatwright.accounts.limits import RateLimitStatus
from chatwright.core.deltas import Delta
from chatwright.service.record import RequestRecord


@dataclass(frozen=True, slots=True)
class Answer:
    """An admitted request. Iterate `deltas` once; closing it aborts the generation within one engine step.

    `id` is "chatcmpl-" + 32 hex, `created` whole seconds, `model` the slug as requested; `fingerprint` knows the engine's
    once it has made something. `truncated_tokens`
    were cut from the prompt's left on the client's demand; `unused_variables` are template variables the template never
    reads; `checked_keywords` are those of its schemas that the whole answer is held to once it is there;
    `service_tier` is the one it is served in; `rate_limits` tells the caller's, with this request reserved or settled;
    `record` fills while the deltas are iterated.
    """

    id: str
    created: int
    model: str
    fingerprint: Callable[[], str]
    prompt_tokens: int
    deltas: AsyncIterator[Delta]
    truncated_tokens: int = 0
    unused_variables: tuple[str, ...] = ()
    checked_keywords: tuple[str, ...] = ()
    rate_limits: Callable[[], RateLimitStatus] = RateLimitStatus
    record: RequestRecord | None = None
    service_tier: str = "default"
