"""The seam between text and tokens: `Engine`. Everything above it is written once, for every engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol, runtime_checkable

import msgspec

from chatwright.core.errors import Overloaded
from chatwright.core.generation import GenerationRequest, TokenChunk


class EngineInfo(msgspec.Struct, frozen=True):
    """What an engine can do. `fingerprint` changes whenever the same seed may give other tokens.

    `vocab_size` is the width of the logits, `context_length` the most tokens a sequence may hold;
    `unsupported` names the request's fields that the engine can't honour.
    """

    name: str
    fingerprint: str
    vocab_size: int
    context_length: int
    supports_logprobs: bool = True
    unsupported: tuple[str, ...] = ()


class EngineStats(msgspec.Struct, frozen=True):
    """A reading of an engine's load, in requests, tokens and KV blocks."""

    running: int = 0
    waiting: int = 0
    waiting_tokens: int = 0
    kv_blocks_used: int = 0
    kv_blocks_total: int = 0
    steps: int = 0
    generated_tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    preemptions: int = 0
    aborted: int = 0


class Engine(Protocol):
    """Turns a prompt's token ids into generated token ids, for many requests at once."""

    @property
    def info(self) -> EngineInfo:
        """Valid once `start` has returned."""

    @property
    def ready(self) -> bool:
        """Whether a request sent now would be served."""

    @property
    def active(self) -> int:
        """Requests that are generated for this process."""

    async def start(self) -> None:
        """Load and warm up. Raises EngineFailed with the reason."""

    async def close(self) -> None:
        """Stop; requests still running end with EngineFailed."""

    def generate(self, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
        """Stream the tokens of one request; the last chunk has `finish` set.

        Closing the iterator aborts the request within one step. Raises Overloaded before the first chunk where
        it can't
        be queued, DeadlineExceeded where it waited too long, EngineFailed where the engine died.
        """

    async def stats(self) -> EngineStats:
        """A recent reading; never waits for a step longer than a moment."""


@runtime_checkable
class TellsLoad(Protocol):
    """An engine of which is known, without asking it, whether it is full."""

    def overload(self, waiting_share: float, coming: int) -> Overloaded | None:
        """Why a request of this share of the waiting room would be refused now, if so many others that are on their way
        came before it; None where it might be taken.
        """
