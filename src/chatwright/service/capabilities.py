"""What an engine can't do is refused by name, and not offered either."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import msgspec

from chatwright.core.chat import ChatRequest
from chatwright.core.engine import Engine
from chatwright.core.errors import UnsupportedParameter
from chatwright.core.sampling import SamplingChoices
from chatwright.service.catalog_view import ModelCard

_DEFAULT = SamplingChoices()


def _differs(name: str) -> Callable[[ChatRequest], bool]:
    default = getattr(_DEFAULT, name)
    return lambda request: bool(getattr(request.sampling, name) != default)


ASKED: MappingProxyType[str, Callable[[ChatRequest], bool]] = MappingProxyType(
    {
        field: _differs(field)
        for field in (
            "min_tokens", "temperature", "top_p", "top_p_min", "top_k", "min_p", "seed", "frequency_penalty",
            "presence_penalty", "repetition_penalty", "logit_bias", "bad_token_ids", "stop_token_ids", "ignore_eos",
            "logprobs",
        )
    }
    | {
        "bad": lambda request: bool(request.sampling.bad_words),
        "top_logprobs": lambda request: bool(request.sampling.logprobs),
        "response_format": lambda request: request.format.kind != "text",
        "tools": lambda request: bool(request.tools) and request.tool_choice.mode != "none",
        "prediction": lambda request: request.prediction is not None,
        "disaggregated_params": lambda request: request.disaggregation is not None,
    }
)  # fmt: skip
"""By field: whether a request asks for anything but its default. `thinking.check_effort` judges `reasoning_effort`: a template
may honour what the engine can't.
"""


def unsupported(engine: Engine) -> tuple[str, ...]:
    """The fields that it can't honour, as far as it has said."""
    if not engine.ready:
        return ()
    lacking = engine.info.unsupported
    return lacking if engine.info.supports_logprobs else (*lacking, "logprobs", "top_logprobs")


def check_capabilities(request: ChatRequest, slug: str, engine: Engine) -> None:
    """Raises UnsupportedParameter for the first field that asks for what the engine can't do."""
    for field in unsupported(engine):
        asked = ASKED.get(field)
        if asked is not None and asked(request):
            raise UnsupportedParameter(
                f"{field} can't be honoured: {slug} runs on the engine {engine.info.name}, which doesn't support it.",
                param=field,
            )


def offered(card: ModelCard, engine: Engine) -> ModelCard:
    """The card without what the engine can't do."""
    lacking = set(unsupported(engine))
    if not lacking:
        return card
    if "tools" in lacking:
        lacking |= {"tool_choice", "parallel_tool_calls"}
    features = {"json_mode", "structured_outputs"} if "response_format" in lacking else set()
    features |= lacking & {"tools"}
    return msgspec.structs.replace(
        card,
        supported_parameters=tuple(name for name in card.supported_parameters if name not in lacking),
        supported_features=tuple(name for name in card.supported_features if name not in features),
    )
