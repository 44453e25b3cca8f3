"""Rules between fields that need neither the model nor the tokenizer, and OpenAI fields that can't be honoured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from chatwright.api.openai.problems import Problem, quote
from chatwright.api.openai.tools import NamedToolChoice
from chatwright.api.openai.wire import ChatCompletionRequest
from chatwright.rendering.variables import RESERVED

REPLACED = {
    "functions": "is not supported: it is deprecated, use 'tools'",
    "function_call": "is not supported: it is deprecated, use 'tool_choice'",
    "audio": "is not supported: answers are text only",
    "web_search_options": "is not supported: there is no web search; give the model a function in 'tools'",
    "moderation": "is not supported: nothing is moderated here",
    "prompt_cache_options": "is not supported: prompts are cached by themselves; leave it out",
    "prompt_cache_retention": "is not supported: prompts are cached by themselves; leave it out",
}
"""OpenAI fields that are refused, each with what to use in its place."""


def broken_rules(request: ChatCompletionRequest) -> list[Problem]:
    """Every rule the request breaks, in the order of its fields."""
    checks = (_lengths, _logprobs, _stream, _tools, _template, _aliases, _unsupported, _disaggregation)
    return [problem for check in checks for problem in check(request)]


def _broken(param: str, message: str) -> Problem:
    return Problem("invalid_value", param, message)


def _lengths(request: ChatCompletionRequest) -> Iterator[Problem]:
    old, new = request.max_tokens, request.max_completion_tokens
    if "max_tokens" in request.model_fields_set and None not in (old, new) and old != new:
        yield _broken(
            "max_completion_tokens",
            f"'max_completion_tokens' ({new}) and 'max_tokens' ({old}) are the same limit and must be equal.",
        )
        return
    limit = request.token_limit
    if limit is not None and request.min_tokens > limit:
        yield _broken(
            "min_tokens",
            f"'min_tokens' must be an integer from 0 to 'max_tokens' ({limit}), got {request.min_tokens}.",
        )


def _logprobs(request: ChatCompletionRequest) -> Iterator[Problem]:
    if request.top_logprobs > 0 and not request.logprobs:
        yield _broken("top_logprobs", "'top_logprobs' above 0 needs 'logprobs' to be true.")


def _stream(request: ChatCompletionRequest) -> Iterator[Problem]:
    if request.stream_options is not None and not request.stream:
        yield _broken("stream_options", "'stream_options' is allowed only where 'stream' is true.")


def _tools(request: ChatCompletionRequest) -> Iterator[Problem]:
    names = [tool.function.name for tool in request.tools]
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield _broken(f"tools.[{index}].function.name", f"The tool name {quote(name)} is given twice.")
        seen.add(name)
    choice = request.tool_choice
    if isinstance(choice, NamedToolChoice):
        if choice.function.name not in seen:
            wanted = quote(choice.function.name)
            yield _broken("tool_choice", f"'tool_choice' names {wanted}, which is not in 'tools'.")
    elif choice == "required" and not names:
        yield _broken("tool_choice", "'tool_choice' \"required\" needs at least one function in 'tools'.")


def _template(request: ChatCompletionRequest) -> Iterator[Problem]:
    field = "chat_template_args" if request.chat_template_args is not None else "chat_template_kwargs"
    variables = getattr(request, field) or {}
    for name in sorted((RESERVED & variables.keys()) - {"continue_final_message"}):
        yield _broken(field, f"'{field}' may not set '{name}': the server sets it.")
    follow = variables.get("continue_final_message")
    if follow is not None and type(follow) is not bool:
        yield Problem(
            "invalid_type",
            field,
            f"'{field}.continue_final_message' must be true or false, got {quote(follow)}.",
        )
    elif follow and request.add_generation_prompt:
        yield _broken(field, f"'{field}.continue_final_message' needs 'add_generation_prompt' to be false.")


def _aliases(request: ChatCompletionRequest) -> Iterator[Problem]:
    pairs: tuple[tuple[str, str], ...] = (
        ("chat_template_args", "chat_template_kwargs"),
        ("user", "safety_identifier"),
    )
    for name, alias in pairs:
        one, other = _given(request, name), _given(request, alias)
        if None not in (one, other) and _written(one) != _written(other):
            yield _broken(alias, f"'{alias}' and '{name}' are the same field and must be equal.")


def _written(value: Any) -> bytes:
    """As JSON, where true isn't 1."""
    return msgspec.json.encode(value, order="sorted")


def _given(request: ChatCompletionRequest, name: str) -> Any:
    return getattr(request, name)


def _unsupported(request: ChatCompletionRequest) -> Iterator[Problem]:
    if request.store:
        yield Problem(
            "unsupported_parameter",
            "store",
            "'store' must be false: answers are not stored; keep them yourself.",
        )
    if request.modalities != ["text"]:
        yield Problem(
            "unsupported_parameter", "modalities", "'modalities' must be [\"text\"]: answers are text only."
        )


def _disaggregation(request: ChatCompletionRequest) -> Iterator[Problem]:
    params = request.disaggregated_params
    if params is None:
        return
    if params.multimodal_hashes and len(params.multimodal_hashes) != len(params.multimodal_embedding_handles):
        yield _broken(
            "disaggregated_params.multimodal_hashes",
            "'disaggregated_params.multimodal_hashes' must have one entry for each embedding handle.",
        )
    elif params.multimodal_embedding_handles:
        yield Problem(
            "unsupported_parameter",
            "disaggregated_params.multimodal_embedding_handles",
            "'disaggregated_params.multimodal_embedding_handles' is not supported: no model here takes images or audio.",
        )
    if params.request_type == "generation_only" and (
        params.ctx_request_id is None or not params.opaque_state
    ):
        yield _broken(
            "disaggregated_params",
            "'disaggregated_params' of request_type \"generation_only\" needs ctx_request_id and opaque_state.",
        )
