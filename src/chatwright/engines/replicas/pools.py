"""`PooledEngine`: each request prefilled by one engine and decoded by another, as one stream.

Prefills of long prompts then delay nobody's next token (Zhong et al. 2024, DistServe, arXiv 2401.09670; Patel et al. 2024,
Splitwise, arXiv 2311.18677).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from itertools import count

import msgspec

from chatwright.core.engine import Engine, EngineInfo, EngineStats
from chatwright.core.errors import (
    ContextNotFound,
    EngineFailed,
    Overloaded,
    UnsupportedParameter,
)
from chatwright.core.generation import GenerationRequest, Handoff, TokenChunk
from chatwright.engines.replicas.agreement import agreed_info, summed
from chatwright.engines.replicas.contexts import Carrier, Contexts
from chatwright.engines.replicas.member import Member
from chatwright.engines.replicas.replica_set import MOST_DEATHS, ReplicaSet
from chatwright.engines.replicas.routing import LeastLoaded

PATIENCE_SECONDS = 30.0
"""How long a request that has its first token waits for a place in the decode pool."""
PAUSE_SECONDS = 0.25


class PooledEngine:
    """An `Engine` over two pools of full engines. Names are different in both.

    A request's first token comes from `prefill`, the others from `decode`. Halves that clients ask for themselves go to the
    pool they belong to, unless `serves_contexts` is off.
    """

    def __init__(
        self,
        prefill: Mapping[str, Engine],
        decode: Mapping[str, Engine],
        carrier: Carrier | Contexts,
        *,
        info: EngineInfo | None = None,
        serves_contexts: bool = True,
        new_id: Callable[[], int] = lambda: secrets.randbits(53),
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        assert not set(prefill) & set(decode)
        self._contexts = carrier if isinstance(carrier, Contexts) else Contexts(carrier)
        self.prefill = ReplicaSet(prefill, info=info, contexts=self._contexts)
        self.decode = ReplicaSet(decode, info=info, contexts=self._contexts, router=LeastLoaded())
        self._serves_contexts = serves_contexts
        self._new_id = new_id
        self._patience = patience
        self._active = 0

    @property
    def info(self) -> EngineInfo:
        """Of both pools."""
        return self.prefill.info

    @property
    def ready(self) -> bool:
        """Whether both halves can be served."""
        return self.prefill.ready and self.decode.ready

    @property
    def active(self) -> int:
        """Requests, in whichever half."""
        return self._active

    @property
    def members(self) -> Mapping[str, Member]:
        """Of both pools, by name."""
        return {**self.prefill.members, **self.decode.members}

    async def start(self) -> None:
        """Start both pools. Raises EngineFailed where one doesn't start, or can't read what the other computes."""
        pools = (self.prefill, self.decode)
        results = await asyncio.gather(*(pool.start() for pool in pools), return_exceptions=True)
        try:
            for result in results:
                if result is not None:
                    raise result
            infos = {"prefill": self.prefill.info, "decode": self.decode.info}
            agreed_info(infos)
            if self.prefill.info.fingerprint != self.decode.info.fingerprint:
                raise EngineFailed("The engines of the two pools are of different builds.")
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End both pools."""
        await asyncio.gather(self.prefill.close(), self.decode.close())

    def overload(self, waiting_share: float, coming: int) -> Overloaded | None:
        """See `TellsLoad`: a request begins in the prefill pool."""
        return self.prefill.overload(waiting_share, coming)

    async def stats(self) -> EngineStats:
        """The sum of both pools'."""
        return summed(await asyncio.gather(self.prefill.stats(), self.decode.stats()))

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
        """See `Engine.generate`."""
        self._active += 1
        try:
            async with aclosing(self._halves(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self._active -= 1

    def _halves(self, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
        if request.handoff is not None:
            if not self._serves_contexts:
                raise UnsupportedParameter(
                    "This server hands no contexts over.", param="disaggregated_params"
                )
            pool = self.prefill if request.handoff.kind == "context" else self.decode
            return pool.generate(request)
        if request.sampling.max_tokens == 1:
            return self.prefill.generate(request)
        return self._both(request, self._new_id())

    async def _both(self, request: GenerationRequest, context_id: int) -> AsyncGenerator[TokenChunk]:
        discard = True
        try:
            first = await self._prefill(request, context_id)
            if first.finish == "length":
                first = msgspec.structs.replace(first, finish=None)
            yield first
            if first.finish is not None:
                return
            continuation = _continuation(request, context_id, first.token_ids)
            async with aclosing(self._decode(request, continuation)) as chunks:
                async for chunk in chunks:
                    if discard:
                        discard = False
                        await self._contexts.discard(context_id)
                    yield chunk
        finally:
            if discard:
                await self._contexts.discard(context_id)

    async def _prefill(self, request: GenerationRequest, context_id: int) -> TokenChunk:
        """Compute the prompt's KV and a first token; a context never gives more than one chunk with tokens."""
        async with aclosing(self.prefill.generate(_context(request, context_id))) as chunks:
            async for chunk in chunks:
                if chunk.finish is not None:
                    return chunk
        raise EngineFailed("The engine ended a prefill without saying why.")

    async def _decode(
        self, request: GenerationRequest, continuation: GenerationRequest
    ) -> AsyncGenerator[TokenChunk]:
        """What follows the first token. The client has that one already, so a pool that is full or restarting is waited
        for, and a context that was lost is computed again.
        """
        assert continuation.handoff is not None
        patience = asyncio.get_running_loop().time() + self._patience
        failures = 0
        for attempt in count():
            begun = False
            one = msgspec.structs.replace(
                continuation, id=f"{request.id}/{attempt}"
            )  # the last may not have ended
            try:
                async with aclosing(self.decode.generate(one)) as chunks:
                    async for chunk in chunks:
                        # what it took from the context is no hit of a cache
                        yield chunk if begun else msgspec.structs.replace(chunk, cached_tokens=0)
                        begun = True
                return
            except (ContextNotFound, EngineFailed, Overloaded) as error:
                failures += not isinstance(error, Overloaded)
                late = asyncio.get_running_loop().time() > patience
                if begun or late or failures >= MOST_DEATHS:
                    raise error if isinstance(error, EngineFailed) else _gave_up(error) from error
                lost = isinstance(error, ContextNotFound)
            if lost:
                await self._prefill(one, continuation.handoff.context_id)
            else:
                await asyncio.sleep(PAUSE_SECONDS)


def _context(request: GenerationRequest, context_id: int) -> GenerationRequest:
    """The first half."""
    return msgspec.structs.replace(
        request,
        handoff=Handoff("context", context_id),
        sampling=msgspec.structs.replace(request.sampling, max_tokens=1),
        reservation=min(request.reservation, len(request.prompt_token_ids) + 1),
        draft_token_ids=(),
    )


def _continuation(
    request: GenerationRequest, context_id: int, first_token_ids: tuple[int, ...]
) -> GenerationRequest:
    """The second half, of a request that was admitted: it has waited, and it was within its tenant's share."""
    return msgspec.structs.replace(
        request,
        handoff=Handoff("continuation", context_id, first_token_ids),
        deadline=None,
        waiting_share=1.0,
    )


def _gave_up(error: ContextNotFound | Overloaded) -> EngineFailed:
    return EngineFailed(f"The answer could not be continued after its first token: {error.message}")
