"""Everything that happens to a request before it is admitted: checks, prompt, length, grammar, hand-off."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import msgspec

from chatwright.accounts.account import Account
from chatwright.accounts.authentication import ENVIRONMENT_PROJECT
from chatwright.accounts.projects import DEFAULT_PROJECT
from chatwright.accounts.tiers import TIERS
from chatwright.core.chat import ChatRequest
from chatwright.core.generation import GenerationRequest, Handoff, Prompt
from chatwright.core.sampling import SamplingParams
from chatwright.grammar.compiler import Compiled
from chatwright.service.capabilities import check_capabilities, unsupported
from chatwright.service.constraint import compile_answer
from chatwright.service.handoff import Handoffs
from chatwright.service.length import Fit, fit
from chatwright.service.model import ServedModel
from chatwright.service.prompt import ENCODED_ON_LOOP, BuiltPrompt, aside, build_prompt, encode
from chatwright.service.resolve import check_ids, check_token_ids, resolve_sampling
from chatwright.service.thinking import check_effort, thinking_budget


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is fit to be admitted: what the engine gets, and what the answer needs of the way there."""

    generation: GenerationRequest
    built: BuiltPrompt
    compiled: Compiled
    grammar_seconds: float

    @property
    def prompt_tokens(self) -> int:
        """After truncation."""
        return len(self.generation.prompt_token_ids)

    @property
    def max_tokens(self) -> int:
        """What fits of it."""
        return self.generation.sampling.max_tokens


async def prepare(
    request: ChatRequest,
    account: Account,
    model: ServedModel,
    tier: str,
    handoffs: Handoffs,
    deadline: float | None,
    affinity: str | None = None,
) -> Prepared:
    """In the order of the contract (1.3). Raises every InvalidRequest there can be; takes nothing from anybody."""
    check_token_ids(request.sampling, model.tokenizer.token_count)
    check_capabilities(request, model.card.id, model.engine)
    built = await build_prompt(request, model)
    length = fit(len(built.prompt.token_ids), request.sampling.max_tokens, model.context_length)
    check_effort(request.reasoning_effort, model, built.unused_variables)
    thinking = None
    if "reasoning_effort" not in unsupported(model.engine):
        thinking = thinking_budget(request.reasoning_effort, model, built.prompt.text, length.max_tokens)
    began = perf_counter()
    compiled = await compile_answer(request, model, built.prompt.text, limits_thinking=thinking is not None)
    grammar_seconds = perf_counter() - began if compiled.grammar is not None else 0.0
    handoff = _handoff(request, account, model, built.prompt, handoffs)
    if handoff is not None and handoff.kind == "context":
        need = len(built.prompt.token_ids) + 1
        length = msgspec.structs.replace(length, max_tokens=1, reservation=need)
    generation = GenerationRequest(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        prompt_token_ids=built.prompt.token_ids,
        sampling=await _sampling(request, model, length.max_tokens),
        grammar=compiled.grammar,
        thinking=thinking if compiled.grammar is not None else None,
        draft_token_ids=await _draft(request, model),
        handoff=handoff,
        affinity=affinity or "",
        **_scheduling(account, tier, length, deadline),
    )
    return Prepared(generation, built, compiled, grammar_seconds)


async def _sampling(request: ChatRequest, model: ServedModel, max_tokens: int) -> SamplingParams:
    """256 bad words of 1,000 characters take half a second to encode: other requests go on meanwhile."""
    if sum(map(len, request.sampling.bad_words)) <= ENCODED_ON_LOOP:
        return resolve_sampling(request.sampling, model, max_tokens)
    return await aside(resolve_sampling, request.sampling, model, max_tokens)


def _scheduling(account: Account, tier: str, length: Fit, deadline: float | None) -> dict[str, Any]:
    """How the engine ranks a request, and with whom it shares."""
    policy = TIERS[tier]
    return {
        "reservation": length.reservation,
        "priority": length.priority,
        "deadline": deadline,
        "cache_salt": account.cache_group,
        "fair_key": tenant(account, tier),
        "weight": account.weight * policy.weight,
        "waiting_share": policy.waiting_share,
    }


def tenant(account: Account, tier: str) -> str:
    """Among whom a busy engine is shared: projects; keys without a project of their own stand for themselves."""
    alone = account.project_id in (DEFAULT_PROJECT, ENVIRONMENT_PROJECT)
    return f"{account.key_id if alone else account.project_id}/{tier}"


def _handoff(
    request: ChatRequest, account: Account, model: ServedModel, prompt: Prompt, handoffs: Handoffs
) -> Handoff | None:
    asked = request.disaggregation
    if asked is None:
        return None
    if asked.kind == "context":
        return handoffs.begin()
    return handoffs.resume(asked, account, model.card.id, prompt.token_ids)


async def _draft(request: ChatRequest, model: ServedModel) -> tuple[int, ...]:
    """Tokens the client expects: only ever a guess that is verified, and never longer than an answer could be."""
    check_ids("disaggregated_params.draft_tokens", request.draft_token_ids, model.tokenizer.token_count)
    if request.prediction:
        return (await encode(model.tokenizer, request.prediction))[: model.context_length]
    return request.draft_token_ids
