import pytest

from chatwright.api.openai.convert import to_chat_request
from chatwright.api.openai.parse import parse
from chatwright.core.chat import ChatRequest, OutputOptions, PromptOptions
from chatwright.core.messages import (
    AudioPart,
    ImagePart,
    Message,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from chatwright.core.sampling import SamplingChoices

USER = {"role": "user", "content": "Hi"}
F = {"function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}}


def converted(**members):
    return to_chat_request(parse({"model": "m", "messages": [USER], **members}))


def test_least_request_has_the_defaults_of_the_contract():
    assert converted() == ChatRequest(model="m", messages=(Message("user", "Hi"),))
    assert converted().sampling == SamplingChoices(max_tokens=4096, top_k=50, top_p=1.0, temperature=None)


DEFAULTS = {
    "frequency_penalty": 0,
    "logit_bias": None,
    "logprobs": False,
    "top_logprobs": 0,
    "max_tokens": 4096,
    "n": 1,
    "presence_penalty": 0,
    "response_format": None,
    "seed": None,
    "stop": [],
    "stream": False,
    "temperature": None,
    "top_p": 1,
    "tools": None,
    "tool_choice": None,
    "parallel_tool_calls": True,
    "user": None,
    "best_of": 1,
    "top_k": 50,
    "top_p_min": 0,
    "min_p": 0,
    "repetition_penalty": 1,
    "length_penalty": 1,
    "early_stopping": False,
    "bad": [],
    "bad_token_ids": [],
    "stop_token_ids": [],
    "include_stop_str_in_output": False,
    "ignore_eos": False,
    "min_tokens": 0,
    "skip_special_tokens": True,
    "spaces_between_special_tokens": True,
    "truncate_prompt_tokens": None,
    "echo": False,
    "add_generation_prompt": True,
    "add_special_tokens": False,
    "documents": None,
    "chat_template": None,
    "chat_template_args": None,
    "disaggregated_params": None,
}


@pytest.mark.parametrize("field", DEFAULTS)
def test_field_at_its_default_is_the_field_left_out(field):
    assert converted(**{field: DEFAULTS[field]}) == converted()


@pytest.mark.parametrize(
    ("members", "limit"),
    [
        ({}, 4096),
        ({"max_tokens": None}, None),
        ({"max_completion_tokens": None}, None),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 7.0}, 7),
        ({"max_tokens": None, "max_completion_tokens": 7}, 7),
        ({"max_tokens": 262_144}, 262_144),
    ],
)
def test_null_is_no_preference_and_absence_is_4096(members, limit):
    assert converted(**members).sampling.max_tokens == limit


def test_every_sampling_field_arrives():
    sampling = converted(
        max_tokens=9,
        min_tokens=2,
        temperature=0,
        top_p=0.5,
        top_p_min=0.25,
        top_k=7,
        min_p=0.125,
        seed=-1,
        frequency_penalty=1,
        presence_penalty=-1,
        repetition_penalty=1.5,
        logit_bias={"007": 1, "8": -2.5},
        bad="no",
        bad_token_ids=[1, 2],
        stop_token_ids=[3],
        ignore_eos=True,
        logprobs=True,
        top_logprobs=5,
    ).sampling
    assert sampling == SamplingChoices(
        max_tokens=9,
        min_tokens=2,
        temperature=0.0,
        top_p=0.5,
        top_p_min=0.25,
        top_k=7,
        min_p=0.125,
        seed=-1,
        frequency_penalty=1.0,
        presence_penalty=-1.0,
        repetition_penalty=1.5,
        logit_bias=((7, 1.0), (8, -2.5)),
        bad_words=("no",),
        bad_token_ids=(1, 2),
        stop_token_ids=(3,),
        ignore_eos=True,
        logprobs=5,
    )


@pytest.mark.parametrize(("given", "kept"), [(-1, 0), (0, 0), (1, 1), (10**30, 2**31 - 1)])
def test_top_k_off_is_zero_and_large_is_bounded(given, kept):
    assert converted(top_k=given).sampling.top_k == kept


@pytest.mark.parametrize(
    ("members", "count"), [({}, None), ({"logprobs": True}, 0), ({"logprobs": True, "top_logprobs": 3}, 3)]
)
def test_logprobs_are_a_count_or_off(members, count):
    assert converted(**members).sampling.logprobs == count


def test_prompt_and_output_options_arrive():
    request = converted(
        chat_template="{{ messages }}",
        chat_template_args={"a": 1, "continue_final_message": True},
        documents=[{"title": "t"}],
        add_generation_prompt=False,
        add_special_tokens=True,
        truncate_prompt_tokens=5,
        verbosity="low",
        stop=["a", "b"],
        include_stop_str_in_output=True,
        skip_special_tokens=False,
        spaces_between_special_tokens=False,
        echo=True,
    )
    assert request.prompt == PromptOptions(
        chat_template="{{ messages }}",
        template_args={"a": 1, "verbosity": "low"},
        documents=({"title": "t"},),
        add_generation_prompt=False,
        continue_final_message=True,
        add_special_tokens=True,
        truncate_prompt_tokens=5,
    )
    assert request.output == OutputOptions(("a", "b"), True, False, False, True)


def test_upstream_name_of_template_args_is_the_same_field():
    assert converted(chat_template_kwargs={"a": 1}) == converted(chat_template_args={"a": 1})


def test_messages_arrive_whole():
    image = {"type": "image_url", "image_url": {"url": "https://x", "detail": "low"}}
    audio = {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}, "index": 0}
    messages = [
        {"role": "developer", "content": "Be kind", "name": "d"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, image, audio]},
        {"role": "assistant", "tool_calls": [call], "reasoning": "r", "reasoning_content": None},
        {"role": "tool", "content": "5", "tool_call_id": "c"},
        {"role": "assistant", "content": "", "reasoning": "old", "reasoning_content": "new"},
    ]
    assert converted(messages=messages).messages == (
        Message("developer", "Be kind", name="d"),
        Message("user", (TextPart("a"), ImagePart("https://x", "low"), AudioPart("AA", "wav"))),
        Message("assistant", None, tool_calls=(ToolCall("c", "f", {"a": 1}),), reasoning="r"),
        Message("tool", "5", tool_call_id="c"),
        Message("assistant", "", reasoning="new"),
    )


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, {}),
        ({"a": 1}, {"a": 1}),
        ('{"a": 1}', {"a": 1}),
        ("{a", "{a"),
        ("", ""),
        ('{"a": NaN}', '{"a": NaN}'),
    ],
)
def test_arguments_become_an_object_where_they_are_json(given, kept):
    call = {"id": "c", "function": {"name": "f", "arguments": given}}
    message = converted(messages=[{"role": "assistant", "tool_calls": [call]}]).messages[0]
    assert message.tool_calls[0].arguments == kept


@pytest.mark.parametrize(
    ("members", "choice"),
    [
        ({}, ToolChoice("none")),
        ({"tool_choice": "auto"}, ToolChoice("none")),
        ({"tools": [], "tool_choice": "auto"}, ToolChoice("none")),
        ({"tools": [F]}, ToolChoice("auto")),
        ({"tools": [F], "tool_choice": "none"}, ToolChoice("none")),
        ({"tools": [F], "tool_choice": "required"}, ToolChoice("required")),
        ({"tools": [F], "tool_choice": {"function": {"name": "f"}}}, ToolChoice("named", "f")),
    ],
)
def test_tool_choice_is_resolved(members, choice):
    assert converted(**members).tool_choice == choice


def test_tools_arrive_whole():
    request = converted(tools=[F, {"function": {"name": "g"}}], parallel_tool_calls=False)
    assert request.tools == (Tool("f", "d", {"type": "object"}, True), Tool("g"))
    assert request.parallel_tool_calls is False


@pytest.mark.parametrize(
    ("given", "form"),
    [
        ({"type": "text"}, ResponseFormat()),
        ({"type": "json_object"}, ResponseFormat("json_object")),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"b": 1, "a": 2}}},
            ResponseFormat("json_schema", '{"b":1,"a":2}', "n"),
        ),
        ({"type": "grammar", "grammar": "root ::= 'a'"}, ResponseFormat("grammar", "root ::= 'a'")),
        ({"type": "structural_tag", "structural_tag": "{}"}, ResponseFormat("structural_tag", "{}")),
        (
            {"type": "structural_tag", "structural_tag": {"a": [1]}},
            ResponseFormat("structural_tag", '{"a":[1]}'),
        ),
        (
            {"type": "structural_tag", "format": {"type": "any_text"}},
            ResponseFormat("structural_tag", '{"type":"structural_tag","format":{"type":"any_text"}}'),
        ),
        (
            {"type": "structural_tag", "structures": [{}], "triggers": ["a"]},
            ResponseFormat("structural_tag", '{"type":"structural_tag","structures":[{}],"triggers":["a"]}'),
        ),
    ],
)
def test_response_format_becomes_its_source(given, form):
    assert converted(response_format=given).format == form


def test_accounting_fields_arrive():
    request = converted(
        safety_identifier="s",
        metadata={"a": "b"},
        prompt_cache_key="k",
        service_tier="flex",
        reasoning_effort="high",
    )
    assert (request.user, request.metadata, request.prompt_cache_key) == ("s", {"a": "b"}, "k")
    assert (request.service_tier, request.reasoning_effort) == ("flex", "high")
    assert converted(user="u").user == "u"


@pytest.mark.parametrize("content", ["ab", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]])
def test_prediction_is_its_text(content):
    assert converted(prediction={"type": "content", "content": content}).prediction == "ab"
