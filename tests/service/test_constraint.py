"""Whom a grammar is blamed on that the engine could not follow to its end."""

from __future__ import annotations

import pytest

from chatwright.core.chat import ChatRequest
from chatwright.core.errors import InvalidGrammar, InvalidJsonSchema
from chatwright.core.messages import Message, ResponseFormat, Tool, ToolChoice
from chatwright.service.constraint import blamed

TEXT, SCHEMA, EBNF = ResponseFormat(), ResponseFormat("json_schema", "{}"), ResponseFormat("grammar", "x")


@pytest.mark.parametrize(
    ("form", "tools", "mode", "kind", "param"),
    [
        (EBNF, (), "none", InvalidGrammar, "response_format"),
        (SCHEMA, (), "none", InvalidJsonSchema, "response_format"),
        (SCHEMA, (Tool("f"),), "auto", InvalidJsonSchema, "response_format"),
        (SCHEMA, (Tool("f"),), "required", InvalidJsonSchema, "tools"),
        (EBNF, (Tool("f"),), "required", InvalidJsonSchema, "tools"),
        (TEXT, (Tool("f"),), "auto", InvalidJsonSchema, "tools"),
    ],
)
def test_the_error_names_what_the_client_sent(form, tools, mode, kind, param):
    request = ChatRequest(
        "m", (Message("user", "Hi"),), tools=tools, tool_choice=ToolChoice(mode), format=form
    )
    error = blamed(InvalidGrammar("too much", param="response_format"), request)
    assert type(error) is kind
    assert (error.message, error.param) == ("too much", param)
