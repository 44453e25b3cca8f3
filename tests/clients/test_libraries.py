"""Client libraries do a tool loop and typed outputs, whole and streamed, as their users write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.clients

HERE = Path(__file__).parent
CALL = '<tool_call>[{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}]</tool_call>'
FINAL = "It is sunny in Paris, for two days. ☀️"
TYPED = '{"city": "Paris", "country": "France"}'
TYPED_CALL = '<tool_call>[{"name": "%s", "arguments": {"city": "Paris", "country": "France"}}]</tool_call>'
LOOPS = [CALL, FINAL] * 2
CAPITAL = {"city": "Paris", "country": "France"}
VERCEL = ["openai", "openai-compatible"]


def read(name):
    return (HERE / name).read_text()


def loops(said):
    found = [said.pop(kind) for kind in list(said) if kind.startswith("loop")]
    assert len(found) >= 2
    return found


def check_loops(said):
    for loop in loops(said):
        assert loop["calls"] == [["get_weather", {"city": "Paris", "days": 2}]]
        assert loop["text"] == FINAL
        assert loop.get("finish", "stop") == "stop"
        assert loop["tokens"] > 0


def check_typed(said, at_least):
    assert len(said) >= at_least
    for output in said.values():
        assert output == CAPITAL


def check_valid(said):
    for output in said.values():
        assert output.keys() == CAPITAL.keys()
        assert output["city"] in ("Paris", "Rome")
        assert output["country"] in ("France", "Italy")


def check_real_loops(said):
    for loop in loops(said):
        ((name, arguments),) = loop["calls"]
        assert name == "get_weather"
        assert arguments["city"] in ("Paris", "Rome")
        assert isinstance(arguments.get("days", 1), int)
        assert loop["text"]
        assert loop["tokens"] > 0


def test_openai_helpers_on_scripted_answers(scripted, run_python):
    url = scripted([*LOOPS, *[TYPED] * 3])
    said = json.loads(run_python(url, read("programs/openai_helpers.py"), "auto"))
    check_loops(said)
    check_typed(said, 3)


def test_openai_helpers_on_the_real_model(real, run_python):
    said = json.loads(run_python(real, read("programs/openai_helpers.py"), "required"))
    check_real_loops(said)
    check_valid(said)


def test_langchain_on_scripted_answers(scripted, run_python):
    url = scripted([*LOOPS * 2, *[TYPED] * 4, *[TYPED_CALL % "Capital"] * 2])
    said = json.loads(run_python(url, read("programs/langchain.py"), "auto"))
    check_loops(said)
    check_typed(said, 6)


def test_langchain_on_the_real_model(real, run_python):
    said = json.loads(run_python(real, read("programs/langchain.py"), "required"))
    check_real_loops(said)
    check_valid(said)


def test_pydantic_ai_on_scripted_answers(scripted, run_python):
    url = scripted([*LOOPS, *[TYPED] * 2, *[TYPED_CALL % "final_result"] * 2])
    said = json.loads(run_python(url, read("programs/pydantic_ai.py"), "auto"))
    check_loops(said)
    check_typed(said, 4)


def test_pydantic_ai_on_the_real_model(real, run_python):
    said = json.loads(run_python(real, read("programs/pydantic_ai.py"), "required"))
    assert len(said) == 4
    check_valid(said)


@pytest.mark.parametrize("provider", VERCEL)
def test_vercel_on_scripted_answers(scripted, run_node, provider):
    url = scripted([*LOOPS, *[TYPED] * 4])
    said = json.loads(run_node(url, read("node/vercel.js"), provider, "auto"))
    check_loops(said)
    check_typed(said, 4)


@pytest.mark.parametrize("provider", VERCEL)
def test_vercel_on_the_real_model(real, run_node, provider):
    said = json.loads(run_node(real, read("node/vercel.js"), provider, "required"))
    check_real_loops(said)
    check_valid(said)
