"""TensorRT-LLM: trtllm-serve's `/v1/completions`, token ids both ways. Written from the published schemas; not run against a
server.
"""

from __future__ import annotations

from typing import Any

import msgspec

from chatwright.core.engine import EngineStats
from chatwright.core.errors import EngineFailed, UnsupportedParameter
from chatwright.core.generation import GenerationRequest
from chatwright.engines.remote.capabilities import Capability, unsupported
from chatwright.engines.remote.dialect import Ask, Greeting, Reply, WireRequest
from chatwright.engines.remote.failures import message_of
from chatwright.engines.remote.metrics import Samples
from chatwright.engines.remote.seed import spread
from chatwright.grammar.nested import as_one

NAME = "trtllm"
VERSION = "1.2"
PATH = "/v1/completions"

CAPABILITIES = (
    Capability("max_tokens", "mapped"),
    Capability("min_tokens", "refused", "TensorRT-LLM holds back one EOS id only, and no stop ids"),
    Capability("temperature", "mapped"),
    Capability("top_p", "mapped"),
    Capability("top_p_min", "refused", "TensorRT-LLM's has no decay of its own, and moves nothing"),
    Capability("top_k", "mapped"),
    Capability("min_p", "mapped"),
    Capability("seed", "mapped"),
    Capability(
        "frequency_penalty", "mapped", "prompt_ignore_length keeps the prompt out, as the contract wants it"
    ),
    Capability("presence_penalty", "mapped", "as frequency_penalty"),
    Capability("repetition_penalty", "mapped"),
    Capability("logit_bias", "mapped"),
    Capability("bad", "refused", "not in the schema of its HTTP server"),
    Capability("bad_token_ids", "refused", "a bias may not pass -100, which is no ban"),
    Capability("stop_token_ids", "mapped"),
    Capability("ignore_eos", "mapped", "TensorRT-LLM is told our EOS ids as stop ids"),
    Capability("logprobs", "refused", "its completions name tokens by text, not by id"),
    Capability("top_logprobs", "refused", "as logprobs"),
    Capability("response_format", "mapped", "needs guided_decoding_backend: llguidance", "llguidance"),
    Capability("tools", "mapped", "needs guided_decoding_backend: llguidance", "llguidance"),
    Capability("prediction", "emulated", "only a guess, and dropped: it never changes an answer"),
    Capability("reasoning_effort", "refused", "thinking isn't cut by count; a template may still read it"),
    Capability("disaggregated_params", "mapped", "as context_only and generation_only"),
    Capability(
        "service_tier", "emulated", "limits and room in the queue; the order there is the server's own"
    ),
)
FIELDS = {
    "logit_bias": "logit_bias",
    "response_format": "response_format",
    "disaggregated_params": "disaggregated_params",
}


class Trtllm:
    """See `Dialect`."""

    name = NAME
    capabilities = CAPABILITIES
    fields = FIELDS

    async def greet(self, ask: Ask, model: str | None, ends: tuple[int, ...]) -> Greeting:
        """The model it serves; it doesn't tell its context length. Whether Lark is taken is tried out."""
        listed = (await ask("GET", "/v1/models", None)).body
        names = [str(one.get("id")) for one in listed.get("data", ())] if isinstance(listed, dict) else []
        if not names or (model is not None and model not in names):
            raise EngineFailed(
                f"{NAME} doesn't serve {model or 'any model'}; it serves {', '.join(names) or 'none'}."
            )
        served = model or names[0]
        version = (await ask("GET", "/version", None)).body
        lark = {"type": "ebnf", "ebnf": 'start: "a"'}  # no start rule by that name for the other backend
        probe = {
            "model": served,
            "prompt": [0],
            "max_tokens": 1,
            "detokenize": False,
            "response_format": lark,
        }
        features = frozenset({"llguidance"} if (await ask("POST", PATH, probe)).status == 200 else ())
        return Greeting(
            version=str(version.get("version", "")) if isinstance(version, dict) else "",
            model=served,
            features=features,
            unsupported=unsupported(CAPABILITIES, features),
        )

    def request(
        self, request: GenerationRequest, greeting: Greeting, handoff: dict[str, Any] | None
    ) -> WireRequest:
        """See `Dialect.request`."""
        params, half = request.sampling, request.handoff
        if params.bad_sequences:
            raise UnsupportedParameter(f"bad can't be honoured by the engine {NAME}.", param="bad")
        if params.ignore_eos and request.grammar is not None:
            raise UnsupportedParameter(
                f"ignore_eos together with a grammar can't be honoured by the engine {NAME}.",
                param="ignore_eos",
            )
        ends = () if params.ignore_eos else params.eos_token_ids
        body: dict[str, Any] = {
            "model": greeting.model,
            "prompt": request.prompt_token_ids,
            "add_special_tokens": False,
            "detokenize": False,
            "max_tokens": params.max_tokens,
            "frequency_penalty": params.frequency_penalty,
            "presence_penalty": params.presence_penalty,
            "repetition_penalty": params.repetition_penalty,
            "prompt_ignore_length": len(request.prompt_token_ids),
            "seed": spread(params.seed),
            "stop_token_ids": list(dict.fromkeys((*ends, *params.stop_token_ids))),
            "include_stop_str_in_output": True,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        } | _drawing(request)
        if params.logit_bias:
            body["logit_bias"] = {str(token): bias for token, bias in params.logit_bias}
        if request.grammar is not None:
            body["response_format"] = {"type": "ebnf", "ebnf": as_one(request.grammar.source)}
        if half is not None and half.kind == "context":
            body |= {"disaggregated_params": {"request_type": "context_only"}, "stream": False}
            del body["stream_options"]
        elif half is not None:
            body["disaggregated_params"] = (handoff or {}) | {"request_type": "generation_only"}
        return WireRequest(PATH, body, stream=body["stream"])

    def reader(self, request: GenerationRequest) -> TrtllmReader:
        """For one answer."""
        return TrtllmReader(request)

    def stats(self, samples: Samples) -> EngineStats:
        """trtllm-serve's /metrics is JSON about iterations, and popped by reading: it is left to whoever collects that."""
        return EngineStats()


class _Details(msgspec.Struct):
    cached_tokens: int = 0


class _Usage(msgspec.Struct):
    prompt_tokens_details: _Details | None = None


class _Choice(msgspec.Struct):
    token_ids: tuple[int, ...] | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    disaggregated_params: dict[str, Any] | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None
    object: str = ""
    message: str = ""


class TrtllmReader:
    """Reads one answer's events, which hold what is new. A second half's leave out the first half's tokens."""

    def __init__(self, request: GenerationRequest) -> None:
        half = request.handoff
        self._first = half.first_token_ids if half is not None and half.kind == "continuation" else ()
        self._decoder = msgspec.json.Decoder(_Event)

    def read(self, event: bytes) -> Reply:
        """See `Reader.read`."""
        told = self._decoder.decode(event)
        if told.error is not None or told.object == "error":
            raise EngineFailed(f"{NAME} failed: {message_of(told.error or told.message)[:200]}")
        details = told.usage.prompt_tokens_details if told.usage is not None else None
        cached = details.cached_tokens if details is not None else 0
        if not told.choices:
            return Reply(cached_tokens=cached)
        choice = told.choices[0]
        tokens = (*self._first, *(choice.token_ids or ()))
        self._first = ()
        stop = choice.stop_reason
        if choice.finish_reason == "stop" and isinstance(stop, int) and (not tokens or tokens[-1] != stop):
            tokens = (*tokens, stop)  # cut off by some versions
        return Reply(
            token_ids=tokens,
            finish=choice.finish_reason,
            cached_tokens=cached,
            done=told.usage is not None and choice.finish_reason is not None,
            handoff=choice.disaggregated_params,
        )


def _drawing(request: GenerationRequest) -> dict[str, Any]:
    """How a token is drawn; greedy is the most likely one, at a temperature that leaves the penalties as they are."""
    params = request.sampling
    if params.greedy:
        return {"temperature": 1.0, "top_k": 1, "top_p": 1.0, "min_p": 0.0}
    return {
        "temperature": params.temperature,
        "top_k": params.top_k,
        "top_p": params.top_p,
        "min_p": params.min_p,
    }
