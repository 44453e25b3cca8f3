"""What the API refuses, how it says so, and what the official client makes of it."""

from __future__ import annotations

import re

import openai
import pytest

from chatwright.models.catalog import DEFAULT_SLUG as MODEL

HI = [{"role": "user", "content": "Hi"}]
WRONG_TYPES = {
    "messages": "Hi",
    "model": 5,
    "frequency_penalty": "0",
    "logit_bias": [1],
    "logprobs": 1,
    "top_logprobs": "1",
    "max_tokens": 5.5,
    "n": True,
    "presence_penalty": True,
    "response_format": "text",
    "seed": "1",
    "stop": 5,
    "stream": "true",
    "stream_options": True,
    "temperature": "0",
    "top_p": "1",
    "tools": {},
    "parallel_tool_calls": 1,
    "user": 5,
    "best_of": "1",
    "top_k": 1.5,
    "top_p_min": "0",
    "min_p": False,
    "repetition_penalty": [],
    "length_penalty": "1",
    "early_stopping": "never",
    "bad": [5],
    "bad_token_ids": "5",
    "stop_token_ids": [1.5],
    "include_stop_str_in_output": 0,
    "ignore_eos": "no",
    "min_tokens": "0",
    "skip_special_tokens": 1,
    "spaces_between_special_tokens": 1,
    "truncate_prompt_tokens": "5",
    "echo": "yes",
    "add_generation_prompt": 1,
    "add_special_tokens": 0,
    "documents": "text",
    "chat_template": ["x"],
    "chat_template_args": [],
    "disaggregated_params": 5,
}
OUT_OF_RANGE = {
    "messages": [],
    "frequency_penalty": 2.1,
    "presence_penalty": -2.1,
    "top_logprobs": 21,
    "max_tokens": 0,
    "max_completion_tokens": 262_145,
    "n": 2,
    "best_of": 2,
    "seed": 2**63,
    "stop": [""],
    "temperature": 4.1,
    "top_p": 0,
    "top_k": -2,
    "top_p_min": 1.1,
    "min_p": -0.1,
    "repetition_penalty": 0,
    "bad": "",
    "bad_token_ids": [49152],
    "stop_token_ids": [-1],
    "logit_bias": {"49152": 1},
    "min_tokens": 17,
    "truncate_prompt_tokens": 0,
    "documents": [{"text": 5}],
}


def test_unknown_key(live, new_api):
    with openai.OpenAI(api_key="wrong", base_url=f"{live.url}/v1", max_retries=0) as sdk:
        with pytest.raises(openai.AuthenticationError) as caught:
            sdk.chat.completions.create(model=MODEL, messages=HI)
        assert (caught.value.code, caught.value.param) == ("invalid_api_key", None)
        assert caught.value.type == "authentication_error"
        with pytest.raises(openai.AuthenticationError):
            sdk.models.list()


@pytest.mark.parametrize(
    "header",
    [{}, {"authorization": "contract-key"}, {"authorization": "Basic x"}, {"x-api-key": "contract-key"}],
)
def test_no_or_malformed_key(api, header):
    headers = {"authorization": ""} | header
    response = api.http.post("/v1/chat/completions", json=api.body(), headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"]["code"] == "invalid_api_key"
    assert "contract-key" not in response.text


@pytest.mark.parametrize("scheme", ["Api-Key", "api-key", "Bearer", "BEARER"])
def test_both_schemes_in_any_case(api, scheme):
    headers = {"authorization": f"{scheme} contract-key"}
    assert api.http.get("/v1/models", headers=headers).status_code == 200


def test_key_is_checked_before_the_body(api):
    headers = {"authorization": "Bearer wrong"}
    response = api.http.post("/v1/chat/completions", content=b"{", headers=headers)
    assert response.status_code == 401


def test_unknown_model(sdk):
    with pytest.raises(openai.NotFoundError) as caught:
        sdk.chat.completions.create(model="huggingfacetb/smollm2-135m-instruct", messages=HI)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError) as caught:
        sdk.models.retrieve("no/such/model")
    assert caught.value.code == "model_not_found"


def test_context_overflow(sdk):
    words = [{"role": "user", "content": "word " * 8200}]
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.chat.completions.create(model=MODEL, messages=words)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    assert "8192" in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b'{"model": "m", "messages": [], "temperature": NaN}',
        b'{"model": "m", "messages": [], "temperature": Infinity}',
        b'{"model": "\xff"}',
        b'{"model": "\\ud800", "messages": []}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda body: body[:12].decode(errors="replace"),
)
def test_bad_json(api, body):
    response = api.http.post("/v1/chat/completions", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_bad_json_has_its_code(api):
    response = api.http.post("/v1/chat/completions", content=b'{"model": ')
    assert response.json()["error"]["code"] == "invalid_json"


@pytest.mark.parametrize("field", WRONG_TYPES)
def test_wrong_type(api, field):
    error = api.refused(**{field: WRONG_TYPES[field]})
    assert error["param"].split(".")[0] == field
    assert error["code"] == "invalid_type"


@pytest.mark.parametrize("field", OUT_OF_RANGE)
def test_out_of_range(api, field):
    members = {field: OUT_OF_RANGE[field]}
    if field == "max_completion_tokens":
        members["max_tokens"] = ...
    if field == "top_logprobs":
        members["logprobs"] = True
    error = api.refused(**members)
    assert error["param"].split(".")[0] == field


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"stream_options": {}}, "stream_options"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_completion_tokens"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.[0].content"),
        ({"stop": ["x"] * 33}, "stop"),
        ({"stop": "x" * 1001}, "stop"),
        ({"logit_bias": {"7": 1, "007": 1}}, "logit_bias"),
        ({"logit_bias": {"7": 100.5}}, "logit_bias"),
    ],
)
def test_broken_dependency_names_the_field(api, members, param):
    assert api.refused(**members)["param"].startswith(param)


@pytest.mark.parametrize("field", ["model", "messages"])
def test_missing_member(api, field):
    error = api.refused(**{field: ...})
    assert (error["code"], error["param"]) == ("missing_required_parameter", field)
    assert api.refused(**{field: None})["param"] == field


def test_unknown_member_gets_a_suggestion(api):
    error = api.refused(temprature=1)
    assert (error["code"], error["param"]) == ("unknown_parameter", "temprature")
    assert "temperature" in error["message"]


def test_image_for_a_text_model(api):
    part = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/never-fetched.png"}}
    error = api.refused(messages=[{"role": "user", "content": [part]}])
    assert error["param"].startswith("messages.[0].content")


def test_unknown_path_and_method(api):
    lost = api.http.get("/v1/nothing")
    assert (lost.status_code, lost.json()["error"]["code"]) == (404, "not_found")
    wrong = api.http.get("/v1/chat/completions")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json()["error"].keys() == {"message", "type", "param", "code"}


def test_body_over_the_limit(api):
    response = api.http.post("/v1/chat/completions", content=b" " * (8 * 2**20 + 1))
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")


def test_request_id_is_echoed_or_made(api, made_id):
    given = api.http.get("/v1/models", headers={"x-request-id": "my id 1"})
    assert given.headers["x-request-id"] == "my id 1"
    for response in (api.http.get("/v1/models"), api.http.get("/nowhere"), api.post(n=2)):
        assert re.fullmatch(made_id, response.headers["x-request-id"])
    bad = api.http.get("/v1/models", headers={"x-request-id": "x" * 129})
    assert bad.headers["x-request-id"].startswith("req_")


def test_processing_time_is_told(api):
    assert int(api.post(max_tokens=1).headers["openai-processing-ms"]) >= 0
