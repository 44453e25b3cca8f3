"""One row for each rule of the contract."""

from __future__ import annotations

import pytest

from chatwright.api.openai.parse import parse
from chatwright.api.openai.wire import ChatCompletionRequest
from chatwright.core.errors import InvalidRequest

USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "f"}}
FIELDS = ChatCompletionRequest.member_names()
OPTIONAL = [name for name in FIELDS if name not in ("messages", "model")]


def request(**members):
    return {"model": "m", "messages": [USER], **members}


def says(**members):
    with pytest.raises(InvalidRequest) as caught:
        parse(request(**members))
    return caught.value


def content(*parts, role="user"):
    return [{"role": role, "content": list(parts)}]


def called(arguments, **members):
    call = {"id": "c", "function": {"name": "f", "arguments": arguments}, **members}
    return [USER, {"role": "assistant", "tool_calls": [call]}]


def schema_of(values):
    return [{"function": {"name": "f", "parameters": {"properties": {"a": {"enum": list(range(values))}}}}}]


def disaggregated(**members):
    return {"request_type": "context_only", **members}


IMAGE = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
AUDIO = {"type": "input_audio"}
FORMAT_OF_AUDIO = "messages.[0].content.[0].input_audio.format"
HUGE_SCHEMA = [{"function": {"name": "f", "parameters": {"description": "x" * 262_144}}}]
HANDLES = {"multimodal_hashes": [[1] * 8], "multimodal_embedding_handles": [{"a": 1}]}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}
A, B = "invalid_type", "invalid_value"
MISSING, UNKNOWN, UNSUPPORTED = "missing_required_parameter", "unknown_parameter", "unsupported_parameter"

REFUSED = [
    # messages
    ("messages", None, MISSING, "messages"),
    ("messages", [], B, "messages"),
    ("messages", [USER] * 4097, B, "messages"),
    ("messages", [5], A, "messages.[0]"),
    ("messages", [USER, None], A, "messages.[1]"),
    ("messages", [{"content": "Hi"}], MISSING, "messages.[0].role"),
    ("messages", [{"role": "robot", "content": "Hi"}], B, "messages.[0].role"),
    ("messages", [{"role": ["user"], "content": "Hi"}], A, "messages.[0].role"),
    ("messages", [USER, USER, {"role": "user", "content": 5}], A, "messages.[2].content"),
    ("messages", [{"role": "user", "content": {"type": "text"}}], A, "messages.[0].content"),
    ("messages", [{"role": "user"}], MISSING, "messages.[0].content"),
    ("messages", [{"role": "system", "content": None}], MISSING, "messages.[0].content"),
    ("messages", [{"role": "developer"}], MISSING, "messages.[0].content"),
    ("messages", [{"role": "tool", "content": "x"}], MISSING, "messages.[0].tool_call_id"),
    ("messages", [{"role": "tool", "content": "x", "tool_call_id": ""}], B, "messages.[0].tool_call_id"),
    ("messages", [{"role": "tool", "tool_call_id": "c"}], MISSING, "messages.[0].content"),
    ("messages", [{**USER, "name": 5}], A, "messages.[0].name"),
    ("messages", [{**USER, "name": "x" * 257}], B, "messages.[0].name"),
    ("messages", content("Hi"), A, "messages.[0].content.[0]"),
    ("messages", content({"text": "Hi"}), MISSING, "messages.[0].content.[0].type"),
    ("messages", content({"type": "text"}), MISSING, "messages.[0].content.[0].text"),
    ("messages", content({"type": "text", "text": 5}), A, "messages.[0].content.[0].text"),
    ("messages", content({"type": "text", "text": "a", "cache_control": {}}), UNKNOWN, "messages.[0].content.[0].cache_control"),
    ("messages", content(IMAGE, {"type": "file", "file": {}}), B, "messages.[0].content.[1]"),
    ("messages", content({"type": ["text"], "text": "a"}), B, "messages.[0].content.[0]"),
    ("messages", content({**IMAGE, "image_url": "https://x"}), A, "messages.[0].content.[0].image_url"),
    ("messages", content({**IMAGE, "image_url": {}}), MISSING, "messages.[0].content.[0].image_url.url"),
    ("messages", content({**IMAGE, "image_url": {"url": "x", "detail": "max"}}), B, "messages.[0].content.[0].image_url.detail"),
    ("messages", content({**AUDIO, "input_audio": {"data": "x", "format": "au"}}), B, FORMAT_OF_AUDIO),
    ("messages", content(*[{"type": "text", "text": "a"}] * 1025), B, "messages.[0].content"),
    ("messages", called("[1]"), B, "messages.[1].tool_calls.[0].function.arguments"),
    ("messages", called("5"), B, "messages.[1].tool_calls.[0].function.arguments"),
    ("messages", called([1]), A, "messages.[1].tool_calls.[0].function.arguments"),
    ("messages", called("[" * 101), B, "messages.[1].tool_calls.[0].function.arguments"),
    ("messages", called("{}", type="custom"), B, "messages.[1].tool_calls.[0].type"),
    ("messages", called("{}", extra=1), UNKNOWN, "messages.[1].tool_calls.[0].extra"),
    ("messages", [{"role": "assistant", "tool_calls": [{"id": "c"}]}], MISSING, "messages.[0].tool_calls.[0].function"),
    # model
    ("model", None, MISSING, "model"),
    ("model", "", B, "model"),
    ("model", 5, A, "model"),
    ("model", "x" * 257, B, "model"),
    # numbers
    ("temperature", -0.001, B, "temperature"),
    ("temperature", 4.001, B, "temperature"),
    ("temperature", True, A, "temperature"),
    ("temperature", "1", A, "temperature"),
    ("temperature", 10**400, B, "temperature"),
    ("top_p", 0, B, "top_p"),
    ("top_p", -0.1, B, "top_p"),
    ("top_p", 1.001, B, "top_p"),
    ("top_p_min", -0.1, B, "top_p_min"),
    ("top_p_min", 1.1, B, "top_p_min"),
    ("min_p", -0.1, B, "min_p"),
    ("min_p", 1.1, B, "min_p"),
    ("min_p", False, A, "min_p"),
    ("top_k", -2, B, "top_k"),
    ("top_k", 1.5, A, "top_k"),
    ("top_k", True, A, "top_k"),
    ("frequency_penalty", -2.1, B, "frequency_penalty"),
    ("frequency_penalty", 2.1, B, "frequency_penalty"),
    ("presence_penalty", -2.1, B, "presence_penalty"),
    ("presence_penalty", 2.1, B, "presence_penalty"),
    ("repetition_penalty", 0, B, "repetition_penalty"),
    ("repetition_penalty", -1, B, "repetition_penalty"),
    ("length_penalty", 10**400, B, "length_penalty"),
    ("length_penalty", "1", A, "length_penalty"),
    ("early_stopping", "never", A, "early_stopping"),
    ("seed", 2**63, B, "seed"),
    ("seed", -(2**63) - 1, B, "seed"),
    ("seed", 1.5, A, "seed"),
    ("n", 0, B, "n"),
    ("n", 2, B, "n"),
    ("n", True, A, "n"),
    ("best_of", 0, B, "best_of"),
    ("best_of", 2, B, "best_of"),
    # lengths
    ("max_tokens", 0, B, "max_tokens"),
    ("max_tokens", -1, B, "max_tokens"),
    ("max_tokens", 262_145, B, "max_tokens"),
    ("max_tokens", 5.5, A, "max_tokens"),
    ("max_tokens", True, A, "max_tokens"),
    ("max_tokens", "5", A, "max_tokens"),
    ("max_completion_tokens", 0, B, "max_completion_tokens"),
    ("max_completion_tokens", 262_145, B, "max_completion_tokens"),
    ("min_tokens", -1, B, "min_tokens"),
    ("min_tokens", 4097, B, "min_tokens"),
    ("truncate_prompt_tokens", 0, B, "truncate_prompt_tokens"),
    ("truncate_prompt_tokens", -1, B, "truncate_prompt_tokens"),
    # logprobs
    ("logprobs", 1, A, "logprobs"),
    ("logprobs", "true", A, "logprobs"),
    ("top_logprobs", 1, B, "top_logprobs"),
    ("top_logprobs", 21, B, "top_logprobs"),
    ("top_logprobs", -1, B, "top_logprobs"),
    # stops and bans
    ("stop", "", B, "stop"),
    ("stop", "x" * 1001, B, "stop"),
    ("stop", ["a"] * 33, B, "stop"),
    ("stop", ["a", ""], B, "stop.[1]"),
    ("stop", ["a", "é" * 1001], B, "stop.[1]"),
    ("stop", ["a", None], A, "stop.[1]"),
    ("stop", 5, A, "stop"),
    ("stop", {"a": "b"}, A, "stop"),
    ("stop_token_ids", [-1], B, "stop_token_ids.[0]"),
    ("stop_token_ids", [1, True], A, "stop_token_ids.[1]"),
    ("stop_token_ids", [2**31], B, "stop_token_ids.[0]"),
    ("stop_token_ids", list(range(1025)), B, "stop_token_ids"),
    ("stop_token_ids", 5, A, "stop_token_ids"),
    ("bad", "", B, "bad"),
    ("bad", ["a", ""], B, "bad.[1]"),
    ("bad", ["a"] * 257, B, "bad"),
    ("bad", 5, A, "bad"),
    ("bad_token_ids", [1.5], A, "bad_token_ids.[0]"),
    ("bad_token_ids", [-1], B, "bad_token_ids.[0]"),
    ("bad_token_ids", list(range(4097)), B, "bad_token_ids"),
    ("logit_bias", {"a": 1}, B, "logit_bias"),
    ("logit_bias", {"-1": 1}, B, "logit_bias"),
    ("logit_bias", {"+1": 1}, B, "logit_bias"),
    ("logit_bias", {"1.0": 1}, B, "logit_bias"),
    ("logit_bias", {" 1": 1}, B, "logit_bias"),
    ("logit_bias", {"٣": 1}, B, "logit_bias"),
    ("logit_bias", {"9" * 5000: 1}, B, "logit_bias"),
    ("logit_bias", {str(2**31): 1}, B, "logit_bias"),
    ("logit_bias", {"": 1}, B, "logit_bias"),
    ("logit_bias", {"1": 100.5}, B, "logit_bias"),
    ("logit_bias", {"1": -101}, B, "logit_bias"),
    ("logit_bias", {"1": True}, A, "logit_bias"),
    ("logit_bias", {"1": None}, A, "logit_bias"),
    ("logit_bias", {"1": 10**400}, B, "logit_bias"),
    ("logit_bias", {"7": 1, "007": 1}, B, "logit_bias"),
    ("logit_bias", {str(i): 1 for i in range(4097)}, B, "logit_bias"),
    ("logit_bias", [[1, 2]], A, "logit_bias"),
    # streams
    ("stream", "true", A, "stream"),
    ("stream", 1, A, "stream"),
    ("stream_options", {}, B, "stream_options"),
    ("stream_options", {"include_usge": True}, UNKNOWN, "stream_options.include_usge"),
    ("stream_options", {"include_usage": 1}, A, "stream_options.include_usage"),
    ("stream_options", True, A, "stream_options"),
    # tools
    ("tools", [TOOL] * 1025, B, "tools"),
    ("tools", [TOOL, TOOL], B, "tools.[1].function.name"),
    ("tools", [{"type": "function"}], MISSING, "tools.[0].function"),
    ("tools", [{"type": "web_search"}], B, "tools.[0].type"),
    ("tools", [{"function": {"name": ""}}], B, "tools.[0].function.name"),
    ("tools", [{"function": {"name": "a b"}}], B, "tools.[0].function.name"),
    ("tools", [{"function": {"name": "f\n"}}], B, "tools.[0].function.name"),
    ("tools", [{"function": {"name": "x" * 129}}], B, "tools.[0].function.name"),
    ("tools", [{"function": {"name": "f", "parameters": []}}], A, "tools.[0].function.parameters"),
    ("tools", schema_of(1001), "invalid_json_schema", "tools.[0].function.parameters"),
    ("tools", HUGE_SCHEMA, "invalid_json_schema", "tools.[0].function.parameters"),
    ("tools", [{"function": {"name": "f", "strict": 1}}], A, "tools.[0].function.strict"),
    ("tools", [{"function": {"name": "f", "params": {}}}], UNKNOWN, "tools.[0].function.params"),
    ("tool_choice", "required", B, "tool_choice"),
    ("tool_choice", "any", B, "tool_choice"),
    ("tool_choice", 5, A, "tool_choice"),
    ("tool_choice", TOOL, B, "tool_choice"),
    ("tool_choice", {"type": "function"}, MISSING, "tool_choice.function"),
    ("parallel_tool_calls", "no", A, "parallel_tool_calls"),
    # response_format
    ("response_format", "json_object", A, "response_format"),
    ("response_format", {}, MISSING, "response_format"),
    ("response_format", {"type": "regex", "regex": "a"}, B, "response_format"),
    ("response_format", {"type": "json_schema"}, MISSING, "response_format"),
    ("response_format", {"type": "json_schema", "json_schema": {"schema": {}}}, MISSING, "response_format"),
    ("response_format", {"type": "json_schema", "json_schema": {"name": "n"}}, MISSING, "response_format"),
    ("response_format", {**SCHEMA, "strict": True}, UNKNOWN, "response_format"),
    ("response_format", {"type": "json_schema", "json_schema": {"name": "n", "schema": True}}, A, "response_format"),
    ("response_format", {"type": "grammar"}, MISSING, "response_format"),
    ("response_format", {"type": "grammar", "grammar": 5}, A, "response_format"),
    ("response_format", {"type": "structural_tag", "structural_tag": 5}, A, "response_format"),
    ("response_format", {"type": "structural_tag", "structural_tag": ""}, B, "response_format"),
    ("response_format", {"type": "structural_tag"}, MISSING, "response_format"),
    ("response_format", {"type": "structural_tag", "format": "any_text"}, A, "response_format"),
    ("response_format", {"type": "structural_tag", "format": {}, "structural_tag": "{}"}, B, "response_format"),
    ("response_format", {"type": "structural_tag", "format": {"a": "x" * 262_144}}, B, "response_format"),
    ("response_format", {"type": "structural_tag", "format": {}, "schema": {}}, UNKNOWN, "response_format"),
    ("response_format", {"type": "text", "text": ""}, UNKNOWN, "response_format"),
    # prompt
    ("documents", [{"title": 5}], A, "documents.[0].title"),
    ("documents", ["text"], A, "documents.[0]"),
    ("documents", [{}] * 1025, B, "documents"),
    ("chat_template", 5, A, "chat_template"),
    ("chat_template", "x" * 65_537, B, "chat_template"),
    ("chat_template_args", [], A, "chat_template_args"),
    ("chat_template_args", {"messages": []}, B, "chat_template_args"),
    ("chat_template_kwargs", {"tokenize": True}, B, "chat_template_kwargs"),
    ("chat_template_kwargs", {"processor_kwargs": {}}, B, "chat_template_kwargs"),
    ("chat_template_args", {"namespace": 1}, B, "chat_template_args"),
    ("chat_template_args", {"continue_final_message": 1}, A, "chat_template_args"),
    ("chat_template_args", {"continue_final_message": True}, B, "chat_template_args"),
    ("chat_template_args", {str(i): i for i in range(257)}, B, "chat_template_args"),
    ("reasoning_effort", "enormous", B, "reasoning_effort"),
    ("verbosity", "max", B, "verbosity"),
    ("prediction", {"type": "content"}, MISSING, "prediction.content"),
    ("prediction", {"type": "content", "content": 5}, A, "prediction.content"),
    ("prediction", {"type": "content", "content": [IMAGE]}, UNKNOWN, "prediction.content.[0].image_url"),
    # accounting
    ("user", 5, A, "user"),
    ("user", "x" * 513, B, "user"),
    ("safety_identifier", "x" * 513, B, "safety_identifier"),
    ("metadata", {"a": 1}, A, "metadata.a"),
    ("metadata", {"a": "x" * 513}, B, "metadata.a"),
    ("metadata", {"k" * 65: "x"}, B, "metadata"),
    ("metadata", {str(i): "x" for i in range(17)}, B, "metadata"),
    ("prompt_cache_key", "x" * 257, B, "prompt_cache_key"),
    ("service_tier", "turbo", B, "service_tier"),
    ("service_tier", "scale", B, "service_tier"),
    ("store", True, UNSUPPORTED, "store"),
    ("modalities", ["text", "audio"], UNSUPPORTED, "modalities"),
    ("modalities", [], UNSUPPORTED, "modalities"),
    ("modalities", ["video"], B, "modalities.[0]"),
    # disaggregation
    ("disaggregated_params", {}, MISSING, "disaggregated_params.request_type"),
    ("disaggregated_params", {"request_type": "prefill"}, B, "disaggregated_params.request_type"),
    ("disaggregated_params", {"request_type": "generation_only"}, B, "disaggregated_params"),
    ("disaggregated_params", disaggregated(encoded_opaque_state="x"), UNKNOWN, "disaggregated_params.encoded_opaque_state"),
    ("disaggregated_params", disaggregated(draft_tokens=[-1]), B, "disaggregated_params.draft_tokens.[0]"),
    ("disaggregated_params", disaggregated(first_gen_tokens=5), A, "disaggregated_params.first_gen_tokens"),
    ("disaggregated_params", disaggregated(ctx_request_id="5"), A, "disaggregated_params.ctx_request_id"),
    ("disaggregated_params", disaggregated(multimodal_hashes=[[1]]), B, "disaggregated_params.multimodal_hashes.[0]"),
    ("disaggregated_params", disaggregated(multimodal_hashes=[[1] * 8]), B, "disaggregated_params.multimodal_hashes"),
    ("disaggregated_params", disaggregated(**HANDLES), UNSUPPORTED, "disaggregated_params.multimodal_embedding_handles"),
    # unknown, and OpenAI fields that can't be honoured
    ("temprature", 1, UNKNOWN, "temprature"),
    ("use_beam_search", True, UNKNOWN, "use_beam_search"),
    ("include_reasoning", None, UNKNOWN, "include_reasoning"),
    ("functions", [], UNSUPPORTED, "functions"),
    ("function_call", "auto", UNSUPPORTED, "function_call"),
    ("audio", {}, UNSUPPORTED, "audio"),
    ("web_search_options", {}, UNSUPPORTED, "web_search_options"),
    ("moderation", {}, UNSUPPORTED, "moderation"),
    ("prompt_cache_options", {"mode": "implicit"}, UNSUPPORTED, "prompt_cache_options"),
    ("prompt_cache_retention", "24h", UNSUPPORTED, "prompt_cache_retention"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value", "code", "param"), REFUSED)
def test_value_is_refused_with_code_and_path(field, value, code, param):
    error = says(**{field: value})
    assert (error.code, error.param) == (code, param)
    assert param.split(".")[-1] in error.message or field in error.message
    assert len(error.message) < 1000


def test_every_field_has_a_row():
    assert {row[0] for row in REFUSED} >= set(FIELDS) - {
        "include_stop_str_in_output",
        "ignore_eos",
        "skip_special_tokens",
        "spaces_between_special_tokens",
        "echo",
        "add_generation_prompt",
        "add_special_tokens",
    }


ACCEPTED = [
    ("messages", content({"type": "text", "text": "a"}, IMAGE)),
    ("messages", [{"role": "assistant", "content": None}, USER]),
    ("messages", [{**USER, "refusal": None, "annotations": [], "audio": None, "function_call": None, "x": {}}]),
    ("messages", called(None)),
    ("messages", called("no JSON", index=0)),
    ("messages", [{"role": role, "content": "x", "tool_call_id": "c"} for role in ("system", "developer", "tool")]),
    ("temperature", 0),
    ("temperature", 4),
    ("top_p", 1),
    ("top_p", 1e-9),
    ("top_k", -1),
    ("top_k", 0),
    ("top_k", 5.0),
    ("top_k", 10**30),
    ("seed", -(2**63)),
    ("seed", 2**63 - 1),
    ("n", 1.0),
    ("best_of", 1),
    ("max_tokens", 262_144),
    ("max_tokens", 1),
    ("min_tokens", 4096),
    ("top_logprobs", 0),
    ("stop", []),
    ("stop", "é" * 1000),
    ("stop", ["x"] * 32),
    ("bad", "word"),
    ("logit_bias", {}),
    ("logit_bias", {"0": 100, "007": -100.0}),
    ("tools", []),
    ("tools", schema_of(1000)),
    ("tools", [{"function": {"name": "functions.get_x:0", "parameters": None, "strict": None}}]),
    ("tool_choice", "auto"),
    ("tool_choice", "none"),
    ("response_format", {"type": "text"}),
    ("response_format", SCHEMA),
    ("response_format", {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": False}}),
    ("chat_template_kwargs", {"enable_thinking": False, "anything": [1, {"a": None}]}),
    ("chat_template_args", {"continue_final_message": False}),
    ("prediction", {"type": "content", "content": [{"type": "text", "text": "a"}]}),
    ("store", False),
    ("modalities", ["text"]),
    ("service_tier", "default"),
    ("disaggregated_params", {"request_type": "CONTEXT_only"}),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), ACCEPTED)
def test_value_is_accepted(field, value):
    assert isinstance(parse(request(**{field: value})), ChatCompletionRequest)


@pytest.mark.parametrize("field", OPTIONAL)
def test_null_is_absence(field):
    given, absent = parse(request(**{field: None})), parse(request())
    if field in ("max_tokens", "max_completion_tokens"):
        assert given.token_limit is None
    else:
        assert given == absent


WRONG = {"a string": "x", "a number": 1.5, "true": True, "an array": [[]], "an object": {"x": []}}
TAKES = {
    "a string": {"model", "stop", "bad", "user", "chat_template", "prompt_cache_key", "safety_identifier"},
    "a number": {
        "temperature",
        "frequency_penalty",
        "presence_penalty",
        "length_penalty",
        "repetition_penalty",
    },
    "true": {
        name for name, field in ChatCompletionRequest.model_fields.items() if isinstance(field.default, bool)
    },
    "an array": set(),
    "an object": {"chat_template_args", "chat_template_kwargs"},
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("field", FIELDS)
def test_wrong_json_type_is_refused(field, kind):
    if field in TAKES[kind]:
        if field != "store":
            parse(request(**{field: WRONG[kind]}))
        return
    error = says(**{field: WRONG[kind]})
    assert error.param.split(".")[0] == field
