"""What clients are told of a configured model."""

from __future__ import annotations

from chatwright.config import Settings
from chatwright.engines import scripted
from chatwright.model_config import ModelSettings
from chatwright.models.manifest import InstalledModel
from chatwright.parsing.format import Format
from chatwright.server.books import pricing
from chatwright.service.catalog_view import ModelCard
from chatwright.service.thinking import reasons

PARAMETERS = (
    "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_p_min", "top_k", "min_p", "seed", "stop",
    "stop_token_ids", "include_stop_str_in_output", "min_tokens", "ignore_eos", "frequency_penalty", "presence_penalty",
    "repetition_penalty", "logit_bias", "bad", "bad_token_ids", "logprobs", "top_logprobs", "stream", "stream_options",
    "echo", "add_generation_prompt", "add_special_tokens", "chat_template", "chat_template_args", "chat_template_kwargs",
    "documents", "truncate_prompt_tokens", "skip_special_tokens", "spaces_between_special_tokens",
    "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "verbosity", "prediction",
    "disaggregated_params", "service_tier", "user", "safety_identifier", "metadata", "prompt_cache_key",
)  # fmt: skip
"""Fields of a request that have an effect; `n` and the like have one value only."""
DRAWING = frozenset({"temperature", "top_p", "top_p_min", "top_k", "min_p", "seed"})
"""How a token is drawn: without effect where there is one to draw from, as in a script."""
FEATURES = ("tools", "json_mode", "structured_outputs")
"""What the server adds to every model."""


def model_card(
    model: InstalledModel,
    one: ModelSettings,
    settings: Settings,
    context: int,
    fmt: Format | None,
    reads: frozenset[str],
) -> ModelCard:
    """The card; `fmt` is how the model writes, `reads` are the variables of its templates."""
    manifest = model.manifest
    without = _without_effect(one, settings, fmt, reads)
    return ModelCard(
        id=manifest.slug,
        created=int((model.folder / "model.json").stat().st_mtime),
        owned_by=manifest.slug.split("/")[0] if "/" in manifest.slug else "local",
        name=manifest.slug.rsplit("/", 1)[-1],
        context_length=context,
        max_completion_tokens=context - 1,
        supported_features=tuple(dict.fromkeys([*manifest.capabilities, *FEATURES])),
        supported_parameters=tuple(name for name in PARAMETERS if name not in without),
        aliases=tuple(dict.fromkeys([*manifest.aliases, *one.aliases])),
        pricing=pricing(one.price.price()),
    )


def _without_effect(
    one: ModelSettings, settings: Settings, fmt: Format | None, reads: frozenset[str]
) -> frozenset[str]:
    without = {"verbosity"} - reads
    if not reasons(fmt):
        without |= {"reasoning_effort"} - reads
    if not settings.request_templates:
        without |= {"chat_template"}
    if not settings.disaggregation:
        without |= {"disaggregated_params"}
    if one.engine == "scripted":
        return frozenset(without | DRAWING | {*scripted.UNSUPPORTED, "prediction"})
    return frozenset(without if settings.speculation else without | {"prediction"})
