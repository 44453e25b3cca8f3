"""Wire -> core. Pure; every default is filled here, and the wire request goes no further."""

from __future__ import annotations

from typing import Any, Literal, cast

import msgspec

from chatwright.api.openai.messages import ImagePart as WireImagePart
from chatwright.api.openai.messages import TextPart as WireTextPart
from chatwright.api.openai.messages import WireMessage, WireToolCall
from chatwright.api.openai.messages import WirePart as WirePartType
from chatwright.api.openai.tools import (
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedToolChoice,
    StructuralTagFormat,
    WireTool,
)
from chatwright.api.openai.wire import ChatCompletionRequest
from chatwright.core.chat import ChatRequest, Disaggregation, OutputOptions, PromptOptions
from chatwright.core.messages import (
    AudioPart,
    ImagePart,
    Message,
    Part,
    ResponseFormat,
    Role,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from chatwright.core.sampling import SamplingChoices

_TOP_K_MAX = 2**31 - 1


def to_chat_request(wire: ChatCompletionRequest) -> ChatRequest:
    """The request as the service walks it."""
    return ChatRequest(
        model=wire.model,
        messages=tuple(_message(message) for message in wire.messages),
        tools=tuple(_tool(tool) for tool in wire.tools),
        tool_choice=_tool_choice(wire),
        parallel_tool_calls=wire.parallel_tool_calls,
        format=_response_format(wire),
        sampling=_sampling(wire),
        prompt=_prompt_options(wire),
        output=_output_options(wire),
        reasoning_effort=wire.reasoning_effort,
        prediction=_prediction(wire),
        draft_token_ids=()
        if wire.disaggregated_params is None
        else tuple(wire.disaggregated_params.draft_tokens),
        disaggregation=_disaggregation(wire),
        user=wire.user if wire.user is not None else wire.safety_identifier,
        metadata=wire.metadata,
        prompt_cache_key=wire.prompt_cache_key,
        service_tier=wire.service_tier,
    )


def _message(wire: WireMessage) -> Message:
    content = wire.content
    return Message(
        role=cast(Role, wire.role),
        content=tuple(map(_part, content)) if isinstance(content, list) else content,
        name=wire.name,
        tool_calls=tuple(map(_tool_call, wire.tool_calls)),
        tool_call_id=wire.tool_call_id,
        reasoning=wire.reasoning if wire.reasoning_content is None else wire.reasoning_content,
    )


def _part(wire: WirePartType) -> Part:
    if isinstance(wire, WireTextPart):
        return TextPart(wire.text)
    if isinstance(wire, WireImagePart):
        return ImagePart(wire.image_url.url, cast(Any, wire.image_url.detail))
    return AudioPart(wire.input_audio.data, cast(Any, wire.input_audio.format))


def _tool_call(wire: WireToolCall) -> ToolCall:
    return ToolCall(wire.id, wire.function.name, wire.function.arguments)


def _tool(wire: WireTool) -> Tool:
    function = wire.function
    return Tool(function.name, function.description, function.parameters, function.strict)


def _tool_choice(wire: ChatCompletionRequest) -> ToolChoice:
    choice = wire.tool_choice
    if isinstance(choice, NamedToolChoice):
        return ToolChoice("named", choice.function.name)
    if not wire.tools or choice == "none":
        return ToolChoice("none")
    return ToolChoice("required" if choice == "required" else "auto")


def _response_format(wire: ChatCompletionRequest) -> ResponseFormat:
    match wire.response_format:
        case JsonObjectFormat():
            return ResponseFormat("json_object")
        case JsonSchemaFormat(json_schema=named):
            return ResponseFormat("json_schema", msgspec.json.encode(named.schema_).decode(), named.name)
        case GrammarFormat(grammar=grammar):
            return ResponseFormat("grammar", grammar)
        case StructuralTagFormat() as tag:
            return ResponseFormat("structural_tag", tag.source)
        case _:
            return ResponseFormat()


def _sampling(wire: ChatCompletionRequest) -> SamplingChoices:
    return SamplingChoices(
        max_tokens=wire.token_limit,
        min_tokens=wire.min_tokens,
        temperature=wire.temperature,
        top_p=wire.top_p,
        top_p_min=wire.top_p_min,
        top_k=min(max(wire.top_k, 0), _TOP_K_MAX),
        min_p=wire.min_p,
        seed=wire.seed,
        frequency_penalty=wire.frequency_penalty,
        presence_penalty=wire.presence_penalty,
        repetition_penalty=wire.repetition_penalty,
        logit_bias=wire.logit_bias or (),
        bad_words=_strings(wire.bad),
        bad_token_ids=tuple(wire.bad_token_ids),
        stop_token_ids=tuple(wire.stop_token_ids),
        ignore_eos=wire.ignore_eos,
        logprobs=wire.top_logprobs if wire.logprobs else None,
    )


def _prompt_options(wire: ChatCompletionRequest) -> PromptOptions:
    variables = dict(wire.chat_template_args or wire.chat_template_kwargs or {})
    follow = bool(variables.pop("continue_final_message", False))
    if wire.verbosity is not None:
        variables.setdefault("verbosity", wire.verbosity)
    return PromptOptions(
        chat_template=wire.chat_template,
        template_args=variables,
        documents=tuple(wire.documents),
        add_generation_prompt=wire.add_generation_prompt,
        continue_final_message=follow,
        add_special_tokens=wire.add_special_tokens,
        truncate_prompt_tokens=wire.truncate_prompt_tokens,
    )


def _output_options(wire: ChatCompletionRequest) -> OutputOptions:
    return OutputOptions(
        stop=_strings(wire.stop),
        include_stop=wire.include_stop_str_in_output,
        skip_special_tokens=wire.skip_special_tokens,
        spaces_between_special_tokens=wire.spaces_between_special_tokens,
        echo=wire.echo,
    )


def _prediction(wire: ChatCompletionRequest) -> str | None:
    if wire.prediction is None:
        return None
    content = wire.prediction.content
    return content if isinstance(content, str) else "".join(part.text for part in content)


def _disaggregation(wire: ChatCompletionRequest) -> Disaggregation | None:
    params = wire.disaggregated_params
    kinds: dict[str, Literal["context", "continuation"]] = {
        "context_only": "context",
        "generation_only": "continuation",
    }
    kind = None if params is None else kinds.get(params.request_type.lower())
    if params is None or kind is None:
        return None
    return Disaggregation(
        kind,
        params.ctx_request_id,
        params.opaque_state or "",
        tuple(params.first_gen_tokens),
        repeats_first=not wire.stream,
    )


def _strings(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
