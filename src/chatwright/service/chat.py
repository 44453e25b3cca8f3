"""The walk of one chat request, top to bottom."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from chatwright.accounts.account import Account
from chatwright.accounts.limits import RateLimitStatus
from chatwright.accounts.tiers import tier_of
from chatwright.core.chat import ChatRequest
from chatwright.core.deltas import ContextHandle
from chatwright.core.generation import GenerationRequest
from chatwright.service.admission import Admissions
from chatwright.service.answer import Answer
from chatwright.service.catalog import Catalog
from chatwright.service.constraint import AnswerCheck
from chatwright.service.generation import Generation
from chatwright.service.handoff import Handoffs
from chatwright.service.keeping import Keeping
from chatwright.service.model import ServedModel
from chatwright.service.preparation import prepare
from chatwright.service.record import Observer, RequestRecord, Unobserved
from chatwright.service.shedding import Shedding
from chatwright.service.transcript import Transcript


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
        self._shedding.check(model.card.id, tier)
        prepared = await prepare(request, account, model, tier, self._handoffs, deadline, affinity)
        record = RequestRecord(
            request_id, account.key_id, account.project_id, model.card.id, tier, request.metadata
        )
        record.grammar_seconds = prepared.grammar_seconds
        transcript = Transcript(request, model, prepared.built.prompt.text, prepared.prompt_tokens)
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
            partial(self._shedding.note, model.card.id, tier),
            Keeping(prepared.built.prompt.text) if account.stores_prompts else None,
        )
        return Answer(
            id=prepared.generation.id,
            created=int(time.time()),
            model=request.model,
            fingerprint=_fingerprint(model),
            prompt_tokens=prepared.prompt_tokens,
            deltas=deltas,
            rate_limits=admission.rate_limits,
            truncated_tokens=prepared.built.prompt.truncated_tokens,
            unused_variables=prepared.built.unused_variables,
            checked_keywords=prepared.compiled.checked,
            record=record,
            service_tier=tier,
        )

    def _issue(
        self, generation: GenerationRequest, account: Account, model: ServedModel, first: Sequence[int]
    ) -> ContextHandle | None:
        """What a context's answer carries; None for every other request."""
        handoff = generation.handoff
        if handoff is None or handoff.kind != "context":
            return None
        return self._handoffs.issue(handoff, account, model.card.id, generation.prompt_token_ids, first)


def _fingerprint(model: ServedModel) -> str:
    """Empty while the engine isn't loaded: what it will be is not known."""
    fingerprint = model.engine.info.fingerprint if model.engine.ready else ""
    return f"fp_{fingerprint}" if fingerprint else ""
