"""Which replica serves a request: the one that knows its beginning, unless it is too busy.

A cached prefix is weighed against the queue before it, by the tokens that are left to do, much as NVIDIA Dynamo's KV router
does; SGLang's cache-aware router has thresholds instead. A bound on everybody's load overrides it and affinity too, as in
consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam 2016, arXiv 1608.01350). Keys are placed by
rendezvous hashing (Thaler and Ravishankar 1998): a replica that comes or goes moves only the keys that it gets or had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import NamedTuple, Protocol

from chatwright.core.generation import GenerationRequest
from chatwright.engines.batching.blocks import BlockHash
from chatwright.engines.replicas.prefix_index import BLOCK_TOKENS, PrefixIndex, prompt_chain

ANSWER_TOKENS = 128
"""As how many tokens an answer counts that may be longer; nobody knows how long it will be."""
HEADROOM = 1.25
SLACK_REQUESTS = 4.0


class Load(NamedTuple):
    """What a replica has been given and has not ended: requests, and the tokens it may still have to compute for them."""

    requests: int = 0
    tokens: int = 0


def prefill_tokens(request: GenerationRequest) -> int:
    """What a request weighs until its first token, besides its answer."""
    return len(request.prompt_token_ids)


def answer_tokens(request: GenerationRequest) -> int:
    """What it weighs until it ends."""
    return min(request.sampling.max_tokens, ANSWER_TOKENS)


class Router(Protocol):
    """A decision and its memory; does no I/O. Called from one event loop."""

    def choose(self, request: GenerationRequest, loads: Mapping[str, Load]) -> str:
        """One of the replicas in `loads`, which are those that may have it: never none."""

    def sent(self, request: GenerationRequest, name: str) -> None:
        """The request went to this replica."""

    def forget(self, name: str) -> None:
        """The replica has gone, or come back empty."""


def rendezvous(names: Iterable[str], key: bytes) -> list[str]:
    """The names in the order in which they own the key: highest hash of both first."""

    def weight(name: str) -> bytes:
        return blake2b(name.encode(), key=blake2b(key, digest_size=32).digest(), digest_size=8).digest()

    return sorted(names, key=weight, reverse=True)


def within_bounds(
    loads: Mapping[str, Load], *, headroom: float = HEADROOM, slack: float = SLACK_REQUESTS
) -> list[str]:
    """Those whose tokens are at most `headroom` times the mean and those of `slack` average requests more. The least loaded
    always is.
    """
    requests = sum(load.requests for load in loads.values())
    tokens = sum(load.tokens for load in loads.values())
    bound = headroom * tokens / len(loads) + slack * tokens / max(1, requests)
    return [name for name, load in loads.items() if load.tokens <= bound]


class LeastLoaded:
    """The replica with the fewest tokens; equals by rendezvous of the request's id. For engines without a cache of prefixes."""

    def choose(self, request: GenerationRequest, loads: Mapping[str, Load]) -> str:
        """See `Router.choose`."""
        return min(rendezvous(loads, request.id.encode()), key=lambda name: loads[name].tokens)

    def sent(self, request: GenerationRequest, name: str) -> None:
        """Nothing to remember."""

    def forget(self, name: str) -> None:
        """Nothing to forget."""


class CacheAwareRouter:
    """Among those within bounds: the owner of the request's affinity, else whoever has least to do, what it would have to
    compute of this prompt included. Among equals it is the owner of the prompt's beginning, so that routers that know
    nothing of each other agree.
    """

    def __init__(
        self,
        index: PrefixIndex | None = None,
        *,
        headroom: float = HEADROOM,
        slack: float = SLACK_REQUESTS,
    ) -> None:
        self._index = index or PrefixIndex()
        self._headroom = headroom
        self._slack = slack
        self._last: tuple[GenerationRequest, list[BlockHash]] | None = None

    def choose(self, request: GenerationRequest, loads: Mapping[str, Load]) -> str:
        """See `Router.choose`."""
        allowed = within_bounds(loads, headroom=self._headroom, slack=self._slack)
        if request.affinity:
            return rendezvous(allowed, _key(request.cache_salt, request.affinity))[0]
        chain = self._chain(request)
        saved = {name: BLOCK_TOKENS * self._index.matched(name, chain) for name in allowed}
        owners = rendezvous(allowed, chain[0] if chain else request.id.encode())
        return min(owners, key=lambda name: loads[name].tokens - saved[name])

    def sent(self, request: GenerationRequest, name: str) -> None:
        """Its prompt will be in this replica's cache."""
        self._index.add(name, self._chain(request))

    def forget(self, name: str) -> None:
        """Nothing is cached there any more."""
        self._index.forget(name)

    def _chain(self, request: GenerationRequest) -> list[BlockHash]:
        """Both questions about a request come one after the other."""
        if self._last is None or self._last[0] is not request:
            self._last = (request, prompt_chain(request))
        return self._last[1]


def _key(*parts: str) -> bytes:
    """No two lists of parts give the same key."""
    return b"".join(len(data).to_bytes(4, "big") + data for data in (part.encode() for part in parts))
