"""Tools: obeyed by construction, in every mode and at any temperature (contract 7.1 to 7.4)."""

from __future__ import annotations

import json

import jsonschema
import openai
import pytest
from pydantic import BaseModel, Field

from chatwright.models.catalog import DEFAULT_SLUG

ASK = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "unit": {"enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
CLOCK = {
    "type": "object",
    "properties": {"zone": {"enum": ["UTC", "CET"]}},
    "required": ["zone"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER, "strict": True}},
    {"type": "function", "function": {"name": "get_time", "parameters": CLOCK, "strict": True}},
]
SCHEMAS = {"get_weather": WEATHER, "get_time": CLOCK}
NAMED = {"type": "function", "function": {"name": "get_time"}}
CHOICES = {
    "required": {"tool_choice": "required"},
    "named": {"tool_choice": NAMED},
    "single": {"tool_choice": "required", "parallel_tool_calls": False},
}


def check(choice, mode):
    calls = choice["message"]["tool_calls"]
    for call in calls:
        assert call["type"] == "function"
        jsonschema.validate(json.loads(call["function"]["arguments"]), SCHEMAS[call["function"]["name"]])
    assert len({call["id"] for call in calls}) == len(calls) >= 1
    assert choice["message"]["content"] is None
    assert choice["finish_reason"] == "tool_calls"
    if mode != "required":
        assert len(calls) == 1
    if mode == "named":
        assert calls[0]["function"]["name"] == "get_time"


def obey(api, mode, times):
    for seed in range(times):
        asked = {"messages": ASK, "tools": TOOLS, "temperature": 1.5, "seed": seed, "max_tokens": 2000}
        check(api.choice(**asked, **CHOICES[mode]), mode)


@pytest.mark.parametrize("mode", CHOICES)
def test_calls_obey_at_high_temperature(api, mode):
    obey(api, mode, 20)


@pytest.mark.long
@pytest.mark.parametrize("mode", CHOICES)
def test_calls_obey_two_hundred_times(api, mode):
    obey(api, mode, 200)


def test_stream_and_whole_answer_agree(api):
    asked = {
        "messages": ASK,
        "tools": TOOLS,
        "tool_choice": "required",
        "temperature": 1,
        "seed": 4,
        "max_tokens": 400,
    }
    whole = api.choice(**asked)
    streamed = api.stream(**asked)
    calls = {}
    for choice in streamed.choices:
        for delta in choice["delta"].get("tool_calls", []):
            if "id" in delta:
                assert delta["index"] not in calls
                calls[delta["index"]] = [delta["function"]["name"], ""]
            calls[delta["index"]][1] += delta["function"]["arguments"]
    expected = [
        [call["function"]["name"], call["function"]["arguments"]] for call in whole["message"]["tool_calls"]
    ]
    assert [calls[index] for index in sorted(calls)] == expected
    assert streamed.content == ""
    assert streamed.finish == ("tool_calls", None)


def test_none_never_calls(api):
    choice = api.choice(messages=ASK, tools=TOOLS, tool_choice="none", max_tokens=30)
    assert "tool_calls" not in choice["message"]


def test_auto_calls_or_talks_but_shows_no_markup(api):
    for seed in range(6):
        choice = api.choice(messages=ASK, tools=TOOLS, temperature=1, seed=seed, max_tokens=120)
        if choice["finish_reason"] == "tool_calls":
            for call in choice["message"]["tool_calls"]:
                jsonschema.validate(
                    json.loads(call["function"]["arguments"]), SCHEMAS[call["function"]["name"]]
                )
        assert "<tool_call>" not in (choice["message"]["content"] or "")


def test_auto_is_held_to_the_schema_once_a_call_begins(api):
    history = [*ASK, {"role": "assistant", "content": "<tool_call>"}]
    asked = {"messages": history, "tools": TOOLS, "add_generation_prompt": False}
    for seed in range(3):
        choice = api.choice(**asked, temperature=1.5, seed=seed, max_tokens=60)
        assert "<tool_call>" not in (choice["message"]["content"] or "")


def test_a_call_cut_by_max_tokens_says_length(api):
    choice = api.choice(messages=ASK, tools=TOOLS, tool_choice=NAMED, max_tokens=12)
    assert choice["finish_reason"] == "length"
    assert "<tool_call>" not in (choice["message"]["content"] or "")


def test_tools_beside_a_response_format_give_one_or_the_other(api):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": CLOCK}}
    for seed in range(4):
        choice = api.choice(
            messages=ASK, tools=TOOLS, response_format=form, temperature=1.5, seed=seed, max_tokens=1000
        )
        if choice["finish_reason"] == "tool_calls":
            check(choice, "required")
        else:
            assert choice["finish_reason"] == "stop"
            jsonschema.validate(json.loads(choice["message"]["content"]), CLOCK)


def test_required_wins_over_a_response_format(api):
    form = {"type": "json_object"}
    choice = api.choice(
        messages=ASK, tools=TOOLS, tool_choice="required", response_format=form, max_tokens=400
    )
    check(choice, "required")


def test_strict_refuses_what_it_cannot_enforce_and_names_the_tool(api):
    wrong = {"type": "object", "properties": {"a": {"type": "array", "contains": {}}}}
    tools = [TOOLS[0], {"type": "function", "function": {"name": "f", "parameters": wrong, "strict": True}}]
    error = api.refused(messages=ASK, tools=tools)
    assert error["code"] == "invalid_json_schema"
    assert error["param"] == "tools.[1].function.parameters"
    assert "$.properties.a.contains" in error["message"]
    tools[1]["function"]["strict"] = False
    choice = api.choice(
        messages=ASK, tools=tools[1:], tool_choice="required", parallel_tool_calls=False, max_tokens=1000
    )
    assert isinstance(json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]), dict)


@pytest.mark.parametrize("choice", ["none", "auto", "required", NAMED])
def test_every_tool_needs_a_valid_schema_whichever_may_be_called(api, choice):
    wrong = {"type": "function", "function": {"name": "f", "parameters": {"type": "objekt"}}}
    error = api.refused(messages=ASK, tools=[*TOOLS, wrong], tool_choice=choice)
    assert (error["code"], error["param"]) == ("invalid_json_schema", "tools.[2].function.parameters")


def test_strict_arguments_are_held_to_what_only_shows_once_they_are_whole(api):
    twins = {"type": "array", "items": {"const": 1}, "minItems": 2, "maxItems": 2, "uniqueItems": True}
    schema = {"type": "object", "properties": {"a": twins}, "required": ["a"], "additionalProperties": False}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}
    asked = {"messages": ASK, "tools": [tool], "tool_choice": "required", "parallel_tool_calls": False}
    error = api.refused(**asked, max_tokens=100)
    assert (error["code"], error["param"]) == ("schema_not_satisfied", "tools")
    assert api.stream(**asked, max_tokens=100).error["code"] == "schema_not_satisfied"
    tool["function"]["strict"] = False
    assert api.choice(**asked, max_tokens=100)["finish_reason"] == "tool_calls"


class Weather(BaseModel):
    """Look up the weather."""

    city: str = Field(max_length=20)
    days: int = Field(ge=1, le=14)


def test_tool_loop_and_parse_helper_of_the_official_client(sdk):
    tool = openai.pydantic_function_tool(Weather, name="get_weather")
    asked = {"model": DEFAULT_SLUG, "tools": [tool], "max_tokens": 300, "temperature": 0}
    first = sdk.chat.completions.parse(
        messages=ASK, tool_choice="required", parallel_tool_calls=False, **asked
    )
    message = first.choices[0].message
    (call,) = message.tool_calls
    assert isinstance(call.function.parsed_arguments, Weather)
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"sky": "sunny"}'}
    second = sdk.chat.completions.create(messages=[*ASK, message, result], tool_choice="none", **asked)
    assert second.choices[0].message.content


def test_streaming_helper_of_the_official_client(sdk):
    tool = openai.pydantic_function_tool(Weather, name="get_weather")
    with sdk.chat.completions.stream(
        model=DEFAULT_SLUG,
        messages=ASK,
        tools=[tool],
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=300,
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert kinds.count("tool_calls.function.arguments.done") == 1
    assert isinstance(final.choices[0].message.tool_calls[0].function.parsed_arguments, Weather)
