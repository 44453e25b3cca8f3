"""The walk of one chat request, top to bottom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from chatwright.accounts.account import Account
from chatwright.accounts.limits import RateLimitStatus
from chatwright.accounts.tiers import tier_of
from chatwright.core.chat import ChatRequest
from chatwright.core.deltas import ContextHandle
from chatwright.core.generation import GenerationRequest, TokenLogprob
from chatwright.service.admission import Admissions
from chatwright.service.answer import Answer
from chatwright.service.catalog import Catalog
from chatwright.service.constraint import AnswerCheck
from chatwright.service.generation import Generation
from chatwright.service.handoff import Handoffs
from chatwright.service.keeping import Keeping
from chatwright.service.model import ServedModel
from chatwright.service.preparation import Prepared, prepare
from chatwright.service.record import Observer, RequestRecord, Unobserved
from chatwright.service.shedding import Entrance, Shedding
from chatwright.service.transcript import Transcript

STOPS_ON_LOOP = 1024
"""Characters of stop strings that are prepared at once; more of them in a thread."""


class ChatService:
    """Resolve, prepare, admit, generate. The only place that knows the order."""

    def __init__(
        self, catalog: Catalog, admissions: Admissions, handoffs: Handoffs, observer: Observer | None = None
    ) -> None:
        self._observer = observer or Unobserved()
        self._shedding = Shedding()
        self._catalog = catalog
        self._admissions = admissions
        self._handoffs = handoffs

    async def check(self, account: Account) -> RateLimitStatus:
        """Refuse before the body is read what would be refused whatever it says. Raises RateLimited,
        BudgetExceeded, Overloaded.
        """
        return await self._admissions.check(account)

    async def limits(self, account: Account) -> RateLimitStatus:
        """The caller's limits now. Raises Overloaded."""
        return await self._admissions.status(account)

    async def open(
        self,
        request: ChatRequest,
        account: Account,
        *,
        request_id: str,
        affinity: str | None = None,
        deadline: float | None = None,
    ) -> Answer:
        """Admit a request; every ClientError there can be is raised here, before any token is made.

        `deadline` is the Unix time until which it may wait for the engine. `affinity` helps where a model has
        replicas.
        """
        model = self._catalog.resolve(request.model, account)
        tier = tier_of(account, request.service_tier)
        entrance = self._shedding.enter(model.card.id, tier, model.engine)
        try:
            prepared = await prepare(request, account, model, tier, self._handoffs, deadline, affinity)
            return await self._admitted(request, account, model, tier, prepared, entrance, request_id)
        except BaseException:
            entrance.passed()
            raise

    async def _admitted(
        self,
        request: ChatRequest,
        account: Account,
        model: ServedModel,
        tier: str,
        prepared: Prepared,
        entrance: Entrance,
        request_id: str,
    ) -> Answer:
        """Raises RateLimited, BudgetExceeded, Overloaded."""
        record = RequestRecord(
            request_id, account.key_id, account.project_id, model.card.id, tier, request.metadata
        )
        record.grammar_seconds = prepared.grammar_seconds
        transcript = await _transcript(request, model, prepared)
        admission = await self._admissions.admit(
            account,
            model=model.card.id,
            request_id=request_id,
            prompt_tokens=prepared.prompt_tokens,
            max_tokens=prepared.max_tokens,
            user=request.user,
            service_tier=tier,
            metadata=request.metadata,
        )
        deltas = Generation(
            request,
            model.engine,
            prepared.generation,
            transcript,
            admission,
            partial(self._issue, prepared.generation, account, model),
            record,
            self._observer,
            AnswerCheck(model.grammars, prepared.compiled),
            entrance,
            Keeping(prepared.built.prompt.text) if account.stores_prompts else None,
        )
        return Answer(
            id=prepared.generation.id,
            created=int(time.time()),
            model=request.model,
            fingerprint=partial(_fingerprint, model),
            prompt_tokens=prepared.prompt_tokens,
            deltas=deltas,
            rate_limits=lambda: admission.rate_limits,
            truncated_tokens=prepared.built.prompt.truncated_tokens,
            unused_variables=prepared.built.unused_variables,
            checked_keywords=prepared.compiled.checked,
            record=record,
            service_tier=tier,
        )

    def _issue(
        self,
        generation: GenerationRequest,
        account: Account,
        model: ServedModel,
        first: Sequence[int],
        logprobs: Sequence[TokenLogprob],
    ) -> ContextHandle | None:
        """What a context's answer carries; None for every other request."""
        handoff = generation.handoff
        if handoff is None or handoff.kind != "context":
            return None
        prompt = generation.prompt_token_ids
        return self._handoffs.issue(handoff, account, model.card.id, prompt, first, logprobs)


async def _transcript(request: ChatRequest, model: ServedModel, prepared: Prepared) -> Transcript:
    """32 stop strings of 1,000 characters take tens of milliseconds to prepare: other requests go on meanwhile."""
    arguments = (request, model, prepared.built.prompt.text, prepared.prompt_tokens)
    if sum(map(len, request.output.stop)) <= STOPS_ON_LOOP:
        return Transcript(*arguments)
    return await asyncio.to_thread(Transcript, *arguments)


def _fingerprint(model: ServedModel) -> str:
    """Empty while the engine isn't loaded: what it will be is not known."""
    fingerprint = model.engine.info.fingerprint if model.engine.ready else ""
    return f"fp_{fingerprint}" if fingerprint else ""
