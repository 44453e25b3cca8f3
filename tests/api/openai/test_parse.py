"""Rules between fields, and what the one error says."""

from __future__ import annotations

import pytest

from chatwright.api.openai.parse import parse
from chatwright.core.errors import InvalidRequest

TOOL = {"type": "function", "function": {"name": "f"}}


def request(**members):
    return {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **members}


def says(**members):
    with pytest.raises(InvalidRequest) as caught:
        parse(request(**members))
    return caught.value


def test_combinations_of_limits():
    assert parse(request(max_tokens=5, max_completion_tokens=5)).token_limit == 5
    assert parse(request(max_completion_tokens=6)).token_limit == 6
    assert parse(request(max_tokens=None, max_completion_tokens=6)).token_limit == 6
    assert parse(request(max_tokens=None, min_tokens=5000)).token_limit is None
    assert says(max_tokens=5, max_completion_tokens=6).param == "max_completion_tokens"
    assert says(max_completion_tokens=5, min_tokens=6).param == "min_tokens"


def test_aliases_may_agree_but_not_differ():
    parse(request(chat_template_args={"a": 1}, chat_template_kwargs={"a": 1}))
    for other in ({"a": 2}, {"a": True}, {}):
        assert says(chat_template_args={"a": 1}, chat_template_kwargs=other).param == "chat_template_kwargs"
    parse(request(user="u", safety_identifier="u"))
    assert says(user="u", safety_identifier="v").param == "safety_identifier"


def test_dependencies_are_met_by_their_partners():
    parse(request(logprobs=True, top_logprobs=20))
    parse(request(stream=True, stream_options={"include_usage": False}))
    parse(request(tools=[TOOL], tool_choice="required"))
    parse(request(tools=[TOOL], tool_choice={"function": {"name": "f"}}))
    parse(request(add_generation_prompt=False, chat_template_args={"continue_final_message": True}))
    assert says(tools=[TOOL], tool_choice={"function": {"name": "g"}}).param == "tool_choice"


def test_first_problem_decides_and_others_are_listed():
    error = says(temprature=1, n=2, stop=[""], top_k="5")
    assert (error.code, error.param) == ("unknown_parameter", "temprature")
    assert "Did you mean 'temperature'?" in error.message
    assert all(f"'{name}' must be" in error.message for name in ("n", "stop.[0]", "top_k"))


def test_a_list_is_reported_for_its_first_bad_item_only():
    error = says(messages=[{"role": "robot"}] * 3, n=2)
    assert "messages.[0]" in error.message
    assert "messages.[1]" not in error.message
    assert "'n'" in error.message


def test_rules_are_reported_together():
    error = says(top_logprobs=2, stream_options={}, store=True)
    assert error.param == "top_logprobs"
    assert "stream_options" in error.message
    assert "store" in error.message


@pytest.mark.parametrize(
    "members",
    [
        {f"unknown_{i}": i for i in range(5000)},
        {"messages": [{"role": "robot", "content": i} for i in range(4000)]},
        {"logit_bias": {f"x{i}": "y" for i in range(4000)}},
        {"metadata": {f"x{i}": i for i in range(16)}},
        {"stream_options": {f"x{i}": i for i in range(5000)}},
        {"messages": [{"role": "user", "content": [{"type": "x" * 100_000}]}]},
        {"x" * 1_000_000: 1},
        {"stop": ["x" * 1_000_000]},
        {"n": int("9" * 4000)},
        {"metadata": {"x" * 100_000: 1}},
    ],
)
def test_error_text_is_bounded(members):
    error = says(**members)
    assert len(error.message) < 5000
    assert len(error.param) < 500


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"temperature": 5}, "'temperature' must be a number from 0 to 4, got 5."),
        ({"top_p": 0}, "'top_p' must be a number above 0 and at most 1, got 0."),
        ({"n": 2}, "'n' must be an integer equal to 1, got 2."),
        ({"stream": "yes"}, "'stream' must be true or false, got \"yes\"."),
        (
            {"stop": "x" * 1001},
            "'stop' must be a string of 1 to 1000 characters, got a string of 1001 characters.",
        ),
        ({"stop": ["a"] * 33}, "'stop' must be an array of 0 to 32 items, got an array of 33 items."),
        ({"logit_bias": {"5": 200}}, "'logit_bias.5' must be a number from -100 to 100, got 200."),
        ({"model": None}, "'model' is required."),
        ({"functions": []}, "'functions' is not supported: it is deprecated, use 'tools'."),
        ({"tools": [TOOL, TOOL]}, 'The tool name "f" is given twice.'),
    ],
)
def test_message_names_field_value_and_range(members, words):
    assert says(**members).message == words
