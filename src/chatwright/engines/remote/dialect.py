"""What differs between servers: a `Dialect` writes their requests and reads their answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from chatwright.core.engine import EngineStats
from chatwright.core.generation import GenerationRequest, TokenLogprob
from chatwright.engines.remote.capabilities import Capability
from chatwright.engines.remote.metrics import Samples


class Answer(msgspec.Struct, frozen=True):
    """A short exchange: the status, and the body as JSON, or as text where it is none."""

    status: int
    body: Any


Ask = Callable[[str, str, Any], Awaitable[Answer]]
"""Method, path and JSON body (None for none) of a short exchange. Raises Overloaded where the server can't be reached."""


class Greeting(msgspec.Struct, frozen=True):
    """What a server said of itself. `context_length` is None where it doesn't say; `features` are names that its dialect
    understands; `unsupported` the request's fields that it can't honour.
    """

    version: str
    model: str
    context_length: int | None = None
    features: frozenset[str] = frozenset()
    unsupported: tuple[str, ...] = ()


class WireRequest(msgspec.Struct, frozen=True):
    """One POST. Not streamed, its answer is one event."""

    path: str
    body: dict[str, Any]
    stream: bool = True


class Reply(msgspec.Struct, frozen=True):
    """What one event told. `finish` is the server's own word; `done`: nothing of the answer follows; `handoff` is what the
    server that continues has to be given.
    """

    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: str | None = None
    cached_tokens: int = 0
    done: bool = False
    handoff: dict[str, Any] | None = None


class Reader(Protocol):
    """Reads one answer."""

    def read(self, event: bytes) -> Reply:
        """One event's data. Raises ServerError where the server reports an error, ValueError for what can't be read."""


class Dialect(Protocol):
    """One kind of server."""

    @property
    def name(self) -> str:
        """As configured."""

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """What becomes of each field."""

    @property
    def fields(self) -> Mapping[str, str]:
        """The server's names of fields that it may refuse, and ours for them."""

    async def greet(self, ask: Ask, model: str | None, ends: tuple[int, ...]) -> Greeting:
        """Find out what is served, and how; `ends` are the EOS ids of our side of the model. Raises EngineFailed where it isn't
        what we need.
        """

    def request(
        self, request: GenerationRequest, greeting: Greeting, handoff: dict[str, Any] | None
    ) -> WireRequest:
        """`handoff` is what the first half left, for a continuation. Raises UnsupportedParameter for a value that this server
        can't honour.
        """

    def reader(self, request: GenerationRequest) -> Reader:
        """For one answer."""

    def stats(self, samples: Samples) -> EngineStats:
        """What the server's metrics say of its load; counts of tokens and requests are not taken from there."""
