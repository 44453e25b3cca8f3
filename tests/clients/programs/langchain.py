"""LangChain's ChatOpenAI: a tool loop and typed outputs, whole, streamed and asynchronous. Prints them as JSON.

argv[1] is the tool_choice of the loop's first turn.
"""

import asyncio
import json
import os
import sys
from typing import Literal

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


@tool
def get_weather(city: Literal["Paris", "Rome"], days: int = 1) -> str:
    """Look up the weather of a city."""
    return f"{city}: sunny, {days} day(s)"


class Capital(BaseModel):
    """A capital."""

    city: Literal["Paris", "Rome"]
    country: Literal["France", "Italy"]


ASK = [SystemMessage("Be brief."), HumanMessage("What is the weather in Paris?")]
model = ChatOpenAI(model=os.environ["MODEL"], temperature=0, max_tokens=400, stream_usage=True)

blocks = model.model_copy(update={"output_version": "v1"})


def whole(runnable, history):
    return runnable.invoke(history)


def streamed(runnable, history):
    chunks = list(runnable.stream(history))
    assert len(chunks) > 2
    answer = chunks[0]
    for chunk in chunks[1:]:
        answer += chunk
    return answer


def loop(ask, model=model):
    history = list(ASK)
    first = ask(model.bind_tools([get_weather], tool_choice=sys.argv[1], parallel_tool_calls=False), history)
    assert first.response_metadata["finish_reason"] == "tool_calls"
    assert not first.invalid_tool_calls
    history += [first, *(get_weather.invoke(call) for call in first.tool_calls)]
    last = ask(model.bind_tools([get_weather], tool_choice="none"), history)
    return {
        "calls": [[call["name"], call["args"]] for call in first.tool_calls],
        "text": last.text,
        "tokens": last.usage_metadata["output_tokens"],
        "finish": last.response_metadata["finish_reason"],
    }


def typed(method, **options):
    runnable = model.with_structured_output(Capital, method=method, **options)
    return runnable.invoke(ASK).model_dump()


def typed_streamed(method):
    return list(model.with_structured_output(Capital, method=method).stream(ASK))[-1].model_dump()


async def typed_async():
    return (await model.with_structured_output(Capital).ainvoke(ASK)).model_dump()


print(
    json.dumps(
        {
            "loop": loop(whole),
            "loop_streamed": loop(streamed),
            "loop_blocks": loop(whole, blocks),
            "loop_blocks_streamed": loop(streamed, blocks),
            "schema": typed("json_schema"),
            "schema_strict": typed("json_schema", strict=True),
            "schema_streamed": typed_streamed("json_schema"),
            "schema_async": asyncio.run(typed_async()),
            "function": typed("function_calling"),
            "function_streamed": typed_streamed("function_calling"),
        }
    )
)
