"""What is out of range, contradicts another field or isn't known is refused by name, never clamped or dropped."""

from __future__ import annotations

import httpx

from chatwright.doctor.check import Check, check, expect, same, shown
from chatwright.doctor.client import ABSENT, Client, error_of
from chatwright.doctor.refusals import refusal, refused

_USER = {"role": "user", "content": "Hi"}
_HUGE = 2**31 - 1
_IMAGE = {"type": "image_url", "image_url": {"url": "https://192.0.2.1/x.png"}}

_ROWS: tuple[tuple[str, object, str, str], ...] = (
    ("messages", [], "3.1", "empty"),
    ("messages", [{"role": "robot", "content": "Hi"}], "3.1", "of an unknown role"),
    ("messages", [{"content": "Hi"}], "3.1", "without a role"),
    ("messages", [{"role": "user", "content": None}], "3.1", "a user's without content"),
    ("messages", [_USER, {"role": "tool", "content": "x"}], "3.1", "a tool's without tool_call_id"),
    ("messages", [{"role": "user", "content": [{"type": "file", "file": {}}]}], "3.1", "a file part"),
    ("messages", [{"role": "user", "content": [{"type": "text"}]}], "3.1", "a text part without text"),
    ("messages", [{"role": "user", "content": [{"type": "text", "text": "a", "x": 1}]}], "1.4", "a part with a stray member"),
    ("temperature", -0.1, "5.1", "below 0"),
    ("temperature", 4.1, "5.1", "above 4"),
    ("top_p", 0, "5.2", "0"),
    ("top_p", 1.1, "5.2", "above 1"),
    ("top_k", -2, "5.2", "below -1"),
    ("min_p", -0.1, "5.2", "below 0"),
    ("min_p", 1.1, "5.2", "above 1"),
    ("top_p_min", -0.1, "5.9", "below 0"),
    ("top_p_min", 1.1, "5.9", "above 1"),
    ("frequency_penalty", 2.1, "5.4", "above 2"),
    ("frequency_penalty", -2.1, "5.4", "below -2"),
    ("presence_penalty", 2.1, "5.4", "above 2"),
    ("presence_penalty", -2.1, "5.4", "below -2"),
    ("repetition_penalty", 0, "5.4", "0"),
    ("repetition_penalty", -1, "5.4", "negative"),
    ("seed", 2**63, "5.7", "above int64"),
    ("seed", -(2**63) - 1, "5.7", "below int64"),
    ("n", 0, "5.8", "0"),
    ("n", 2, "5.8", "2"),
    ("best_of", 2, "5.8", "2"),
    ("max_tokens", 0, "6.1", "0"),
    ("max_tokens", -1, "6.1", "negative"),
    ("max_tokens", 262_145, "6.1", "above 262144"),
    ("max_completion_tokens", 0, "6.1", "0"),
    ("min_tokens", -1, "5.10", "negative"),
    ("min_tokens", 17, "5.10", "above max_tokens"),
    ("top_logprobs", 1, "5.3", "without logprobs"),
    ("stop", "", "5.10", "an empty string"),
    ("stop", ["a", ""], "5.10", "an array with an empty string"),
    ("stop", "x" * 1001, "5.10", "1001 characters long"),
    ("stop", ["x"] * 33, "5.10", "33 strings"),
    ("stop_token_ids", [-1], "5.10", "a negative id"),
    ("stop_token_ids", [_HUGE], "5.10", "an id outside the vocabulary"),
    ("bad", "", "5.6", "an empty string"),
    ("bad", ["x"] * 257, "5.6", "257 strings"),
    ("bad_token_ids", [-1], "5.6", "a negative id"),
    ("bad_token_ids", [_HUGE], "5.6", "an id outside the vocabulary"),
    ("logit_bias", {"-1": 1}, "5.5", "of a negative id"),
    ("logit_bias", {str(_HUGE): 1}, "5.5", "of an id outside the vocabulary"),
    ("logit_bias", {"5": 100.5}, "5.5", "above 100"),
    ("logit_bias", {"5": -101}, "5.5", "below -100"),
    ("logit_bias", {"7": 1, "007": 1}, "5.5", "of one id written twice"),
    ("truncate_prompt_tokens", 0, "3.9", "0"),
    ("truncate_prompt_tokens", -1, "3.9", "negative"),
    ("stream_options", {}, "10.3", "without stream"),
    ("tool_choice", "required", "7.2", "required without tools"),
    ("tool_choice", "any", "7.2", "an unknown word"),
    ("tool_choice", {"type": "function", "function": {"name": "f"}}, "7.2", "a function that isn't in tools"),
    ("tools", [{"type": "function"}], "7.1", "without a function"),
    ("tools", [{"type": "web_search"}], "7.1", "no function"),
    ("tools", [{"function": {"name": ""}}], "7.1", "nameless"),
    ("tools", [{"function": {"name": "a b"}}], "7.1", "named with a space"),
    ("tools", [{"function": {"name": "f"}}, {"function": {"name": "f"}}], "7.1", "named alike"),
    ("tools", [{"function": {"name": "f", "params": {}}}], "1.4", "given with a stray member"),
    ("response_format", {}, "7.5", "empty"),
    ("response_format", {"type": "regex", "regex": "a"}, "7.5", "of an unknown type"),
    ("response_format", {"type": "json_schema"}, "7.5", "json_schema without a schema"),
    ("response_format", {"type": "json_schema", "json_schema": {"schema": {}}}, "7.5", "json_schema without a name"),
    ("response_format", {"type": "grammar"}, "7.5", "grammar without a grammar"),
    ("response_format", {"type": "text", "text": ""}, "1.4", "given with a stray member"),
    ("chat_template_args", {"messages": []}, "3.8", "a reserved variable"),
    ("disaggregated_params", {"request_type": "both"}, "8", "of an unknown type"),
    ("disaggregated_params", {}, "8", "of no type"),
    ("reasoning_effort", "enormous", "2.2", "an unknown word"),
    ("verbosity", "max", "2.2", "an unknown word"),
    ("service_tier", "gold", "2.2", "an unknown word"),
    ("metadata", {"k" * 65: "v"}, "2.2", "keyed by 65 characters"),
    ("user", "x" * 513, "5.12", "513 characters long"),
    ("store", True, "2.2", "true"),
    ("modalities", ["text", "audio"], "2.2", "audio"),
    ("web_search_options", {}, "2.2", "asked for"),
    ("functions", [{"name": "f"}], "2.2", "asked for"),
    ("use_beam_search", True, "5.8", "asked for"),
    ("temprature", 1, "1.4", "unknown"),
)  # fmt: skip

REFUSALS: tuple[Check, ...] = tuple(
    refusal(field, value, section, why) for field, value, section, why in _ROWS
)
WITH_OTHERS: tuple[Check, ...] = (
    refusal("top_logprobs", 21, "5.3", "above 20", logprobs=True),
    refusal("top_logprobs", -1, "5.3", "negative", logprobs=True),
    refusal("stream_options", {"include_usge": True}, "1.4", "misspelt inside", stream=True),
    refusal("max_completion_tokens", 6, "2.2", "other than max_tokens", max_tokens=5),
    refusal(
        "chat_template_kwargs", {"a": 1}, "2.2", "other than chat_template_args", chat_template_args={"a": 2}
    ),
    refusal("tools", [{"function": {"name": "f", "parameters": []}}], "7.1", "described by no schema"),
    refusal("chat_template_args", {"continue_final_message": True}, "3.3", "continuing behind a new header"),
)


@check("1.1", "messages", "model")
def required_members(client: Client) -> None:
    """messages and model are required, and null isn't either of them"""
    for field in ("messages", "model"):
        for value in (ABSENT, None):
            error = refused(client, field, {field: value})
            same(error.get("code"), "missing_required_parameter", "the code")


@check("3.1", "messages")
def image_is_refused_by_a_text_model(client: Client) -> None:
    """An image for a text model is refused and the message says which part it is"""
    refused(client, "messages.[0].content", {"messages": [{"role": "user", "content": [_IMAGE]}]})


_EDGES: tuple[dict[str, object], ...] = (
    {"temperature": 4, "seed": 1}, {"temperature": 0}, {"top_k": -1}, {"top_k": 0}, {"top_k": 10**9}, {"top_p": 1},
    {"min_p": 1}, {"min_p": 0}, {"top_p_min": 1}, {"frequency_penalty": 2, "presence_penalty": -2},
    {"repetition_penalty": 0.01}, {"seed": 2**63 - 1}, {"seed": -(2**63)}, {"stop": ["x" * 1000] * 32},
    {"bad": ["zebra"] * 256}, {"logprobs": True, "top_logprobs": 20}, {"max_tokens": 1}, {"min_tokens": 4},
    {"logit_bias": {"5": 100, "6": -100}}, {"truncate_prompt_tokens": 1}, {"user": "x" * 512}, {"tool_choice": "none"},
    {"tool_choice": "auto"}, {"tools": []},
)  # fmt: skip


@check("2", "temperature", "top_k", "seed", "stop", "bad", "top_logprobs", "truncate_prompt_tokens", "user")
def bounds_are_inclusive(client: Client) -> None:
    """The ends of every range are accepted"""
    refusing = [edge for edge in _EDGES if not _accepted(client.post(**{"max_tokens": 4, **edge}))]
    expect(not refusing, f"refused: {shown(refusing, 300)}")


def _accepted(response: httpx.Response) -> bool:
    """An engine that can't honour a field at all refuses its ends too, and rightly."""
    return response.status_code == 200 or error_of(response).get("code") == "unsupported_parameter"
