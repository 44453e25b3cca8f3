"""The snippets of docs/clients.md do what they show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.clients

PAGE = Path(__file__).parents[2] / "docs/clients.md"
CALL = '<tool_call>[{"name": "get_weather", "arguments": {"city": "Paris"}}]</tool_call>'
FINAL = "It is sunny in Paris."
TYPED = '{"city": "Paris", "sunny": true}'
TYPED_CALL = f'<tool_call>[{{"name": "final_result", "arguments": {TYPED}}}]</tool_call>'
SECTIONS = {
    "OpenAI, Python": (TYPED, "city='Paris' sunny=True"),
    "LangChain": (TYPED, "Forecast(city='Paris', sunny=True)"),
    "PydanticAI": (TYPED_CALL, "Forecast(city='Paris', sunny=True)"),
    "Vercel AI SDK": (TYPED, "{ city: 'Paris', sunny: true }"),
}


def snippets():
    found = re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```(\w+)\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    return {title: (language, source) for title, language, source in found}


def test_every_snippet_is_run():
    assert snippets().keys() == SECTIONS.keys()


@pytest.mark.parametrize("title", SECTIONS)
def test_snippet_prints_the_answer_and_the_typed_output(scripted, run_python, run_node, title):
    typed, shown = SECTIONS[title]
    language, source = snippets()[title]
    run = run_python if language == "python" else run_node
    assert run(scripted([CALL, FINAL, typed]), source).splitlines() == [FINAL, shown]
