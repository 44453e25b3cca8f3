"""vLLM: its token-level route `/inference/v1/generate` (vLLM started with --enable-scale-out), token ids both ways."""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec

from chatwright.core.engine import EngineStats
from chatwright.core.errors import UnsupportedParameter
from chatwright.core.generation import GenerationRequest, TokenLogprob
from chatwright.core.sampling import SamplingParams
from chatwright.engines.remote.capabilities import Capability, unsupported
from chatwright.engines.remote.dialect import Ask, Greeting, Reply, WireRequest
from chatwright.engines.remote.failures import of_status
from chatwright.engines.remote.metrics import Samples
from chatwright.engines.remote.seed import spread
from chatwright.engines.vllm_probes import (
    DEFAULT_MAX_LOGPROBS,
    NAME,
    PATH,
    PREFILL,
    PROBES,
    PROCESSOR,
    ends_grammars,
    has_feature,
    served_model,
)
from chatwright.grammar.nested import as_one

log = logging.getLogger("chatwright.engine")

VERSION = "0.32"
NEVER = -1e30
"""Added to a banned token's logit: nothing that is left of it can be drawn, and the grammar's mask stays below."""
COLDEST, HOTTEST = 0.01, 2.0
"""Of the temperatures that vLLM takes as they are."""


CAPABILITIES = (
    Capability("max_tokens", "mapped"),
    Capability("min_tokens", "mapped", "the EOS ids of vLLM's own generation_config are held back too"),
    Capability(
        "temperature",
        "mapped",
        "above 2 and below 0.01 by our logits processor; without it refused, and taken for 0.01",
    ),
    Capability("top_p", "mapped"),
    Capability("top_p_min", "emulated", "by our logits processor", "processor"),
    Capability("top_k", "mapped"),
    Capability("min_p", "mapped"),
    Capability("seed", "mapped", "outside 0 to 2^32-1 hashed to another one, since PyTorch looks at 32 bits"),
    Capability("frequency_penalty", "mapped"),
    Capability("presence_penalty", "mapped"),
    Capability("repetition_penalty", "mapped"),
    Capability("logit_bias", "mapped"),
    Capability("bad", "emulated", "by our logits processor", "processor"),
    Capability("bad_token_ids", "mapped", "as a bias of -1e30, which the token-level route doesn't clamp"),
    Capability("stop_token_ids", "mapped"),
    Capability("ignore_eos", "mapped", "vLLM is told our EOS ids as stop ids, so that its own never count"),
    Capability("logprobs", "mapped", "raw, as with --logprobs-mode raw_logprobs, which is vLLM's default"),
    Capability("top_logprobs", "mapped", "20 needs --max-logprobs 21 or more"),
    Capability("response_format", "mapped", "needs the guidance backend", "guidance"),
    Capability("tools", "mapped", "needs the guidance backend", "guidance"),
    Capability("prediction", "emulated", "only a guess, and dropped: it never changes an answer"),
    Capability(
        "reasoning_effort",
        "emulated",
        "our logits processor cuts thinking whose markers are single tokens",
        "processor",
    ),
    Capability("disaggregated_params", "mapped", "kv_transfer_params; needs a KV connector", "kv_transfer"),
    Capability("service_tier", "mapped", "priority, where vLLM runs with --scheduling-policy priority"),
)
FIELDS = {
    "logit_bias": "logit_bias",
    "min_p": "min_p",
    "logprobs": "top_logprobs",
    "temperature": "temperature",
    "stop_token_ids": "stop_token_ids",
    "seed": "seed",
    "priority": "service_tier",
    "structured_outputs": "response_format",
    "kv_transfer_params": "disaggregated_params",
}


class Vllm:
    """See `Dialect`."""

    name = NAME
    capabilities = CAPABILITIES
    fields = FIELDS

    async def greet(self, ask: Ask, model: str | None, ends: tuple[int, ...]) -> Greeting:
        """The model it serves, and by small requests what it was started with."""
        served, length = served_model((await ask("GET", "/v1/models", None)).body, model)
        version = (await ask("GET", "/version", None)).body
        features = frozenset({name for name in PROBES if await has_feature(ask, served, name)})
        if "guidance" in features and not await ends_grammars(ask, served, ends):
            log.error(
                "%s ends constrained answers with none of our EOS ids: check its tokenizer's eos_token", NAME
            )
            features -= {"guidance"}
        return Greeting(
            version=str(version.get("version", "")) if isinstance(version, dict) else "",
            model=served,
            context_length=length,
            features=features,
            unsupported=unsupported(CAPABILITIES, features),
        )

    def request(
        self, request: GenerationRequest, greeting: Greeting, handoff: dict[str, Any] | None
    ) -> WireRequest:
        """See `Dialect.request`."""
        params = request.sampling
        _refuse(request, greeting)
        body: dict[str, Any] = {
            "request_id": request.id,
            "model": greeting.model,
            "token_ids": request.prompt_token_ids,
            "sampling_params": _sampling(request) | _processed(request, greeting),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.cache_salt:
            body["cache_salt"] = request.cache_salt
        if "priority" in greeting.features:
            # vLLM serves the smaller number first: an arrival time in ms, shifted as our own scheduler shifts it.
            body["priority"] = int((time.time() + request.priority) * 1000)
        if request.handoff is not None:
            context = request.handoff.kind == "context"
            body["kv_transfer_params"] = PREFILL if context else handoff
            if context:  # only an answer in one piece tells where its KV blocks are
                body["stream"], body["stream_options"] = False, None
        if request.grammar is not None:
            body["sampling_params"]["structured_outputs"] = {"grammar": as_one(request.grammar.source)}
            if params.ignore_eos:
                _only_where_nothing_else_can_follow(body["sampling_params"], params)
        return WireRequest(PATH, body, stream=body["stream"])

    def reader(self, request: GenerationRequest) -> VllmReader:
        """For one answer."""
        return VllmReader(request.sampling)

    def stats(self, samples: Samples) -> EngineStats:
        """Its own names, of vLLM's V1 engine."""
        total = int(samples.get("vllm:cache_config_info{num_gpu_blocks}", 0))
        return EngineStats(
            running=int(samples.get("vllm:num_requests_running", 0)),
            waiting=int(samples.get("vllm:num_requests_waiting", 0)),
            kv_blocks_used=round(samples.get("vllm:kv_cache_usage_perc", 0.0) * total),
            kv_blocks_total=total,
            preemptions=int(samples.get("vllm:num_preemptions_total", 0)),
        )


class _Alternative(msgspec.Struct):
    token_id: int
    logprob: float
    rank: int | None = None


class _Entry(_Alternative):
    top_logprobs: list[_Alternative] = []


class _Logprobs(msgspec.Struct):
    content: list[_Entry] | None = None


class _Choice(msgspec.Struct):
    token_ids: tuple[int, ...] | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens_details: _Details | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    kv_transfer_params: dict[str, Any] | None = None
    error: Any = None


class VllmReader:
    """Reads one answer's events, which hold what is new; cached tokens come in an event of their own, after the end."""

    def __init__(self, params: SamplingParams) -> None:
        self._top = params.logprobs
        self._decoder = msgspec.json.Decoder(_Event)

    def read(self, event: bytes) -> Reply:
        """See `Reader.read`."""
        told = self._decoder.decode(event)
        if told.error is not None:
            code = told.error.get("code") if isinstance(told.error, dict) else None
            raise of_status(NAME, code if isinstance(code, int) else 500, told.error, FIELDS)
        details = told.usage.prompt_tokens_details if told.usage is not None else None
        cached = (details.cached_tokens or 0) if details is not None else 0
        if not told.choices:
            return Reply(cached_tokens=cached)
        choice = told.choices[0]
        return Reply(
            token_ids=choice.token_ids or (),
            logprobs=() if self._top is None else _logprobs(choice.logprobs, self._top),
            finish=choice.finish_reason,
            cached_tokens=cached,
            done=told.usage is not None,
            handoff=told.kv_transfer_params,
        )


def _logprobs(told: _Logprobs | None, top: int) -> tuple[TokenLogprob, ...]:
    """The sampled token comes first in vLLM's list, whatever its rank; ranks begin with 1."""
    entries = []
    for entry in (told.content if told is not None else None) or ():
        ranked = sorted(entry.top_logprobs, key=lambda one: (-one.logprob, one.rank or 0))[:top]
        alternatives = tuple((one.token_id, one.logprob) for one in ranked)
        entries.append(TokenLogprob(entry.token_id, entry.logprob, alternatives))
    return tuple(entries)


def _sampling(request: GenerationRequest) -> dict[str, Any]:
    """What vLLM's own sampler does."""
    params = request.sampling
    ends = () if params.ignore_eos and request.grammar is None else params.eos_token_ids
    biases: dict[str, float] = {str(token): bias for token, bias in params.logit_bias}
    biases |= {str(sequence[0]): NEVER for sequence in params.bad_sequences if len(sequence) == 1}
    return {
        "max_tokens": params.max_tokens,
        "min_tokens": min(params.min_tokens, params.max_tokens),
        "temperature": params.temperature,
        "top_p": max(params.top_p, params.top_p_min),
        "top_k": params.top_k,
        "min_p": params.min_p,
        "seed": spread(params.seed),
        "frequency_penalty": params.frequency_penalty,
        "presence_penalty": params.presence_penalty,
        "repetition_penalty": params.repetition_penalty,
        "logit_bias": biases or None,
        "ignore_eos": True,
        "stop_token_ids": list(dict.fromkeys((*ends, *params.stop_token_ids))),
        "logprobs": _asked(params.logprobs),
        "detokenize": False,
    }


def _asked(top: int | None) -> int | None:
    """One more than wanted: the sampled token may take a place in vLLM's list without being among the most likely."""
    return top + 1 if top else top


def _processed(request: GenerationRequest, greeting: Greeting) -> dict[str, Any]:
    """What our logits processors do, where there is anything for them."""
    params, half = request.sampling, request.handoff
    extra: dict[str, Any] = {}
    sequences = [sequence for sequence in params.bad_sequences if len(sequence) > 1]
    if sequences:
        extra["bad"] = sequences
    if _draws_otherwise(params) and "processor" in greeting.features:
        names = ("temperature", "min_p", "top_k", "top_p", "top_p_min")
        extra["draw"] = {name: getattr(params, name) for name in names}
    budget = request.thinking
    if budget is not None and len(budget.start) == len(budget.end) == 1 and not budget.then:
        extra["thinking"] = (budget.max_tokens, *budget.start, *budget.end, budget.inside)
    if half is not None and half.kind == "continuation" and "processor" in greeting.features:
        extra["first"] = half.first_token_ids
    if not extra:
        return {}
    plain = {"temperature": 1.0, "min_p": 0.0, "top_k": 0, "top_p": 1.0} if "draw" in extra else {}
    return {"extra_args": {PROCESSOR: extra}} | plain


def _draws_otherwise(params: SamplingParams) -> bool:
    """Than vLLM can."""
    moves = 0 < params.top_p_min < params.top_p
    return not params.greedy and (moves or not COLDEST <= params.temperature <= HOTTEST)


def _only_where_nothing_else_can_follow(sampling: dict[str, Any], params: SamplingParams) -> None:
    """ignore_eos with a grammar: an end is allowed where the grammar allows nothing else."""
    sampling["logit_bias"] = (sampling["logit_bias"] or {}) | {
        str(token): NEVER for token in params.eos_token_ids
    }


def _refuse(request: GenerationRequest, greeting: Greeting) -> None:
    """Values that this server can't honour. Raises UnsupportedParameter."""
    params, half = request.sampling, request.handoff
    if params.temperature > HOTTEST and "processor" not in greeting.features:
        raise UnsupportedParameter(
            f"temperature above {HOTTEST} can't be honoured by the engine {NAME}, as it was started.",
            param="temperature",
        )
    if (params.logprobs or 0) >= DEFAULT_MAX_LOGPROBS and "max_logprobs" not in greeting.features:
        raise UnsupportedParameter(
            f"top_logprobs above {DEFAULT_MAX_LOGPROBS - 1} can't be honoured by the engine {NAME}, as it was started.",
            param="top_logprobs",
        )
    has_processor = "processor" in greeting.features
    if not has_processor and any(len(sequence) > 1 for sequence in params.bad_sequences):
        raise UnsupportedParameter(
            f"bad can't be honoured by the engine {NAME}, as it was started: it bans single tokens.",
            param="bad",
        )
    if half is not None and half.kind == "continuation" and not (has_processor or params.greedy):
        raise UnsupportedParameter(
            f"disaggregated_params can't be honoured by the engine {NAME} but with temperature 0, as it was started.",
            param="disaggregated_params",
        )
