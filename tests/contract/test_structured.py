"""response_format: an answer that ends by itself obeys, whatever the temperature (contract 7.5)."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import jsonschema
import pydantic
import pytest

from chatwright.models.catalog import DEFAULT_SLUG

_spec = importlib.util.spec_from_file_location("schemas", Path(__file__).with_name("schemas.py"))
schemas = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(schemas)

ASK = [{"role": "user", "content": "Make up an example and write it as JSON."}]
SAMPLE = {**schemas.WRITTEN, **schemas.generated(8)}


def in_form(schema):
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def obeys(response, schema):
    """The choice of a response that isn't a 5xx; whole answers are valid, and a 400 says why."""
    assert response.status_code in (200, 400), response.text
    if response.status_code == 400:
        error = response.json()["error"]
        assert error["code"] in ("invalid_json_schema", "schema_not_satisfied")
        assert error["param"] == "response_format"
        return None
    choice = response.json()["choices"][0]
    assert choice["finish_reason"] in ("stop", "length")
    if choice["finish_reason"] == "stop":
        jsonschema.Draft202012Validator(openapi(schema)).validate(json.loads(choice["message"]["content"]))
    return choice


def openapi(schema):
    """`nullable` in words that the validator knows."""
    if isinstance(schema, dict) and schema.get("nullable") is True:
        return {
            "anyOf": [{key: value for key, value in schema.items() if key != "nullable"}, {"type": "null"}]
        }
    if isinstance(schema, dict):
        return {key: openapi(value) for key, value in schema.items()}
    return [openapi(item) for item in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize("temperature", [0, 1.5])
@pytest.mark.parametrize("name", SAMPLE)
def test_whole_answers_validate(api, name, temperature):
    response = api.post(
        messages=ASK, response_format=in_form(SAMPLE[name]), temperature=temperature, max_tokens=150, seed=11
    )
    choice = obeys(response, SAMPLE[name])
    assert choice is not None or name == "unique"


@pytest.mark.long
@pytest.mark.parametrize("temperature", [0, 1.5])
def test_every_schema_of_the_corpus(api, temperature):
    corpus = {**schemas.WRITTEN, **schemas.generated(200, seed=2), **schemas.suite()}
    assert len(corpus) > 300
    served = 0
    for schema in corpus.values():
        if isinstance(schema, dict):
            response = api.post(
                messages=ASK, response_format=in_form(schema), temperature=temperature, max_tokens=200, seed=3
            )
            served += obeys(response, schema) is not None
    assert served > 300


def test_stream_and_whole_answer_agree(api):
    asked = {
        "messages": ASK,
        "response_format": in_form(SAMPLE["steps"]),
        "temperature": 1,
        "seed": 5,
        "max_tokens": 200,
    }
    streamed = api.stream(**asked)
    assert streamed.content == api.content(**asked)
    assert streamed.finish[0] in ("stop", "length")


def test_json_object_is_an_object(api):
    for seed in range(3):
        choice = api.choice(
            messages=ASK, response_format={"type": "json_object"}, temperature=1, seed=seed, max_tokens=120
        )
        if choice["finish_reason"] == "stop":
            assert isinstance(json.loads(choice["message"]["content"]), dict)


def test_grammar_in_ebnf_and_in_lark(api):
    for grammar in ('root ::= ("red" | "blue") " " [0-9]{2}', 'start: ("red" | "blue") " " /[0-9]{2}/'):
        content = api.content(
            response_format={"type": "grammar", "grammar": grammar}, temperature=1.5, seed=1
        )
        color, number = content.split(" ")
        assert color in ("red", "blue")
        assert len(number) == 2
        assert number.isdecimal()


def test_structural_tag_constrains_what_is_between_its_tags(api):
    age = {"type": "json_schema", "json_schema": {"type": "integer", "minimum": 0, "maximum": 120}}
    tag = {"type": "tag", "begin": "<age>", "content": age, "end": "</age>"}
    tag = {"type": "structural_tag", "format": tag}
    older = {"structures": [{"begin": "<age>", "schema": age["json_schema"], "end": "</age>"}]}
    for form in (
        {"type": "structural_tag", "structural_tag": json.dumps(tag)},
        {"type": "structural_tag", "structural_tag": tag},
        tag,
    ):
        content = api.content(response_format=form, temperature=1.5, seed=1)
        assert 0 <= int(content.removeprefix("<age>").removesuffix("</age>")) <= 120
    form = {"type": "structural_tag", **older, "triggers": ["<age>"]}
    assert api.choice(response_format=form, max_tokens=20)["finish_reason"] in ("stop", "length")


def test_a_complete_answer_costs_no_further_token(api):
    answer = api.ask(response_format={"type": "grammar", "grammar": 'start: "yes"'}, max_tokens=50)
    assert answer["choices"][0]["message"]["content"] == "yes"
    end = 1 if api.engine else 0  # which other servers sample, though nothing else may follow
    assert answer["usage"]["completion_tokens"] == 1 + end


def test_logprobs_of_what_had_to_come_are_certain(api):
    choice = api.choice(
        response_format=in_form(SAMPLE["sentiment"]), logprobs=True, top_logprobs=1, max_tokens=40
    )
    entries = choice["logprobs"]["content"]
    assert (
        bytes(byte for entry in entries for byte in entry["bytes"]).decode() == choice["message"]["content"]
    )
    assert entries[0]["logprob"] == 0


def test_a_header_names_what_is_only_checked_afterwards(api):
    response = api.post(messages=ASK, response_format=in_form(SAMPLE["unique"]), max_tokens=4)
    assert response.headers["x-chatwright-checked"] == "uniqueItems"
    response = api.post(messages=ASK, response_format=in_form(SAMPLE["flag"]), max_tokens=4)
    assert "x-chatwright-checked" not in response.headers


def test_checked_keywords_fail_closed_in_both_modes(api):
    schema = {"type": "array", "items": {"const": 1}, "minItems": 2, "maxItems": 2, "uniqueItems": True}
    error = api.refused(response_format=in_form(schema))
    assert error["code"] == "schema_not_satisfied"
    streamed = api.stream(response_format=in_form(schema))
    assert streamed.error["code"] == "schema_not_satisfied"
    assert [choice for choice in streamed.choices if choice["finish_reason"]] == []
    assert streamed.done


@pytest.mark.parametrize(
    ("form", "code", "reason"),
    [
        (
            in_form({"type": "object", "properties": {"a": {"if": {}}}}),
            "invalid_json_schema",
            "$.properties.a.if",
        ),
        (in_form({"$ref": "http://127.0.0.1/x.json"}), "invalid_json_schema", "nothing is fetched"),
        (
            in_form({"items": {"properties": {"a": {"pattern": "("}}}}),
            "invalid_json_schema",
            "$.items.properties.a: this can't be enforced: regex parse error: unclosed group",
        ),
        (
            in_form({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}),
            "invalid_json_schema",
            "only values without an end",
        ),
        ({"type": "grammar", "grammar": "root ::= missing"}, "invalid_grammar", "missing"),
        ({"type": "grammar", "grammar": "start: missing"}, "invalid_grammar", "missing"),
        ({"type": "structural_tag", "structural_tag": "{}"}, "invalid_grammar", "structures"),
    ],
)
def test_what_cannot_be_enforced_is_refused_before_admission(api, form, code, reason):
    error = api.refused(response_format=form)
    assert (error["code"], error["param"]) == (code, "response_format")
    assert reason in error["message"]


class Step(pydantic.BaseModel):
    explanation: str = pydantic.Field(max_length=30)
    output: str = pydantic.Field(max_length=30)


class Solution(pydantic.BaseModel):
    steps: list[Step] = pydantic.Field(max_length=2)
    answer: int | None


def test_parse_helper_of_the_official_client(sdk):
    done = sdk.chat.completions.parse(
        model=DEFAULT_SLUG, messages=ASK, response_format=Solution, temperature=0, max_tokens=300
    )
    assert isinstance(done.choices[0].message.parsed, Solution)
