"""SGLang: its native route `/generate`, token ids both ways. Written from the published schemas; not run against a server."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from chatwright.core.engine import EngineStats
from chatwright.core.errors import EngineFailed, UnsupportedParameter
from chatwright.core.generation import GenerationRequest, TokenLogprob
from chatwright.core.sampling import SamplingParams
from chatwright.engines.remote.capabilities import Capability, unsupported
from chatwright.engines.remote.dialect import Answer, Ask, Greeting, Reply, WireRequest
from chatwright.engines.remote.failures import message_of
from chatwright.engines.remote.metrics import Samples
from chatwright.engines.remote.seed import spread
from chatwright.grammar.nested import as_one

NAME = "sglang"
VERSION = "0.5"
PATH = "/generate"
NEVER = -1e30
"""Added to a banned token's logit."""
LARGEST_REPETITION_PENALTY = 2.0

CAPABILITIES = (
    Capability("max_tokens", "mapped"),
    Capability("min_tokens", "mapped"),
    Capability("temperature", "mapped"),
    Capability("top_p", "mapped"),
    Capability("top_p_min", "refused"),
    Capability("top_k", "mapped"),
    Capability("min_p", "mapped", "refused together with top_p below 1, which SGLang applies before it"),
    Capability("seed", "mapped", "needs --enable-deterministic-inference", "deterministic"),
    Capability("frequency_penalty", "mapped"),
    Capability("presence_penalty", "mapped"),
    Capability(
        "repetition_penalty",
        "refused",
        "SGLang's looks at generated tokens only, the contract's at the prompt too",
    ),
    Capability("logit_bias", "mapped"),
    Capability("bad", "refused"),
    Capability("bad_token_ids", "mapped", "as a bias of -1e30"),
    Capability("stop_token_ids", "mapped"),
    Capability(
        "ignore_eos", "mapped", "stop ids, which SGLang ignores then too, end the answer by hanging up"
    ),
    Capability(
        "logprobs",
        "mapped",
        "needs SGLANG_RETURN_ORIGINAL_LOGPROB=1; not together with biases or penalties",
        "raw",
    ),
    Capability("top_logprobs", "mapped", "as logprobs", "raw"),
    Capability("response_format", "mapped", "needs --grammar-backend llguidance", "llguidance"),
    Capability("tools", "mapped", "needs --grammar-backend llguidance", "llguidance"),
    Capability("prediction", "emulated", "only a guess, and dropped: it never changes an answer"),
    Capability("reasoning_effort", "refused", "thinking isn't cut by count; a template may still read it"),
    Capability(
        "disaggregated_params", "refused", "SGLang's halves run at the same time, not one after the other"
    ),
    Capability("service_tier", "mapped", "priority, where SGLang runs with --enable-priority-scheduling"),
)
FIELDS = {
    "logit_bias": "logit_bias",
    "min_p": "min_p",
    "ebnf": "response_format",
    "top_logprobs_num": "top_logprobs",
    "priority": "service_tier",
}


class Sglang:
    """See `Dialect`."""

    name = NAME
    capabilities = CAPABILITIES
    fields = FIELDS

    async def greet(self, ask: Ask, model: str | None, ends: tuple[int, ...]) -> Greeting:
        """What it was started with, as it says itself; whether logprobs are the model's own is tried out."""
        answer = await ask("GET", "/server_info", None)
        if answer.status == 404:  # older versions know it by another name
            answer = await ask("GET", "/get_server_info", None)
        told = _object(answer)
        served = str(told.get("served_model_name") or told.get("model_path") or "")
        if model is not None and model != served:
            raise EngineFailed(f"{NAME} doesn't serve {model!r}; it serves {served}.")
        features = {
            "deterministic": bool(told.get("enable_deterministic_inference")),
            "llguidance": told.get("grammar_backend") == "llguidance",
            "priority": bool(told.get("enable_priority_scheduling")),
            "low-first": bool(told.get("schedule_low_priority_values_first")),
            "raw": await _reports_raw_logprobs(ask),
        }
        has = frozenset(name for name, there in features.items() if there)
        length = told.get("context_length")
        return Greeting(
            version=str(told.get("version", "")),
            model=served,
            context_length=length if isinstance(length, int) else None,
            features=has,
            unsupported=unsupported(CAPABILITIES, has),
        )

    def request(
        self, request: GenerationRequest, greeting: Greeting, handoff: dict[str, Any] | None
    ) -> WireRequest:
        """See `Dialect.request`."""
        params = request.sampling
        _refuse(params)
        body: dict[str, Any] = {
            "rid": request.id,
            "input_ids": request.prompt_token_ids,
            "sampling_params": _sampling(request),
            "stream": True,
        }
        if params.logprobs is not None:
            body |= {
                "return_logprob": True,
                "top_logprobs_num": params.logprobs,
                "return_text_in_logprobs": False,
            }
        if request.cache_salt:
            body["extra_key"] = request.cache_salt
        if "priority" in greeting.features:
            # The larger number goes first unless told otherwise: an arrival time in ms, shifted as our own scheduler shifts it.
            arrival = int((time.time() + request.priority) * 1000)
            body["priority"] = arrival if "low-first" in greeting.features else -arrival
        return WireRequest(PATH, body)

    def reader(self, request: GenerationRequest) -> SglangReader:
        """For one answer."""
        return SglangReader(request.sampling)

    def stats(self, samples: Samples) -> EngineStats:
        """Where it was started with --enable-metrics."""
        return EngineStats(
            running=int(samples.get("sglang:num_running_reqs", 0)),
            waiting=int(samples.get("sglang:num_queue_reqs", 0)),
            kv_blocks_used=int(samples.get("sglang:num_used_tokens", 0)),
            kv_blocks_total=int(samples.get("sglang:max_total_num_tokens", 0)),
        )


class _Finish(msgspec.Struct):
    type: str
    matched: int | str | None = None


class _Meta(msgspec.Struct):
    completion_tokens: int
    cached_tokens: int = 0
    finish_reason: _Finish | None = None
    output_token_logprobs: list[tuple[float, int, str | None]] = []
    output_top_logprobs: list[list[tuple[float, int, str | None]] | None] = []


class _Event(msgspec.Struct):
    output_ids: list[int] = []
    meta_info: _Meta | None = None
    error: Any = None


class SglangReader:
    """Reads one answer's events. Whether they hold all tokens so far or the new ones is a setting of the server's: the count
    tells how many are new, and these are always the last.
    """

    def __init__(self, params: SamplingParams) -> None:
        self._top = params.logprobs
        self._made = 0
        self._cached = 0
        self._decoder = msgspec.json.Decoder(_Event)

    def read(self, event: bytes) -> Reply:
        """See `Reader.read`."""
        told = self._decoder.decode(event)
        if told.error is not None or told.meta_info is None:
            raise EngineFailed(f"{NAME} failed: {message_of(told.error)[:200]}")
        meta = told.meta_info
        finish, ids = meta.finish_reason, told.output_ids
        if finish is not None and isinstance(finish.matched, int) and ids[-1:] != [finish.matched]:
            ids = [*ids, finish.matched]  # cut off by some versions
        new = meta.completion_tokens - self._made
        tokens = tuple(ids[-new:]) if new > 0 else ()
        self._made = meta.completion_tokens
        cached, self._cached = meta.cached_tokens - self._cached, meta.cached_tokens
        return Reply(
            token_ids=tokens,
            logprobs=() if self._top is None else _logprobs(meta, len(tokens), self._top),
            finish=finish.type if finish is not None else None,
            cached_tokens=cached,
        )


def _logprobs(meta: _Meta, count: int, top: int) -> tuple[TokenLogprob, ...]:
    """Those of the last `count` tokens."""
    own = meta.output_token_logprobs[-count:] if count else []
    others = meta.output_top_logprobs[-count:] if count and top else []
    entries = []
    for index, (logprob, token, _) in enumerate(own):
        told = others[index] if index < len(others) else None
        ranked = sorted(told or (), key=lambda one: -one[0])[:top]
        alternatives = tuple((token_id, max(value, -9999.0)) for value, token_id, _ in ranked)
        entries.append(TokenLogprob(token, max(logprob, -9999.0), alternatives))
    return tuple(entries)


def _sampling(request: GenerationRequest) -> dict[str, Any]:
    params = request.sampling
    biases = {str(token): bias for token, bias in params.logit_bias}
    biases |= {str(sequence[0]): NEVER for sequence in params.bad_sequences if len(sequence) == 1}
    ends_itself = request.grammar is not None and params.ignore_eos
    if ends_itself:  # an end is allowed where the grammar allows nothing else
        biases |= {str(token): NEVER for token in params.eos_token_ids}
    stops = params.stop_token_ids if params.ignore_eos else (*params.eos_token_ids, *params.stop_token_ids)
    sampling = {
        "max_new_tokens": params.max_tokens,
        "min_new_tokens": min(params.min_tokens, params.max_tokens),
        "temperature": 0.0 if params.greedy else params.temperature,
        "top_p": 1.0 if params.greedy else params.top_p,
        "top_k": params.top_k or -1,
        "min_p": 0.0 if params.greedy else params.min_p,
        "frequency_penalty": params.frequency_penalty,
        "presence_penalty": params.presence_penalty,
        "stop_token_ids": list(dict.fromkeys(stops)),
        "ignore_eos": params.ignore_eos and not ends_itself,
        "no_stop_trim": True,
        "skip_special_tokens": False,
        "sampling_seed": spread(params.seed),
    }
    if biases:
        sampling["logit_bias"] = biases
    if request.grammar is not None:
        sampling["ebnf"] = as_one(request.grammar.source)
    return sampling


def _refuse(params: SamplingParams) -> None:
    """Values that SGLang can't honour. Raises UnsupportedParameter."""
    if params.min_p > 0 and params.top_p < 1 and not params.greedy:
        raise UnsupportedParameter(
            f"min_p together with top_p can't be honoured by the engine {NAME}.", param="min_p"
        )
    if any(len(sequence) > 1 for sequence in params.bad_sequences):
        raise UnsupportedParameter(
            f"bad can't be honoured by the engine {NAME}: it bans single tokens.", param="bad"
        )
    changed = params.logit_bias or params.bad_sequences or params.frequency_penalty or params.presence_penalty
    if params.logprobs is not None and changed:
        raise UnsupportedParameter(
            f"logprobs can't be honoured by the engine {NAME} together with biases and penalties.",
            param="logprobs",
        )


async def _reports_raw_logprobs(ask: Ask) -> bool:
    """Whether a token's logprob is the same at another temperature."""
    told = []
    for temperature in (1.0, 2.0):
        sampling = {"max_new_tokens": 1, "temperature": temperature, "top_k": 1}
        answer = await ask(
            "POST", PATH, {"input_ids": [0], "sampling_params": sampling, "return_logprob": True}
        )
        try:
            told.append(_object(answer)["meta_info"]["output_token_logprobs"][0][0])
        except (LookupError, TypeError):
            return False
    return bool(abs(told[0] - told[1]) < 1e-3)


def _object(answer: Answer) -> dict[str, Any]:
    if answer.status != 200 or not isinstance(answer.body, dict):
        raise EngineFailed(f"{NAME} answered {answer.status}: {message_of(answer.body)[:200]}")
    return answer.body
