"""The OpenAI client's parse() helpers: a tool loop and typed outputs, whole and streamed. Prints them as JSON.

argv[1] is the tool_choice of the loop's first turn.
"""

import asyncio
import json
import os
import sys
from typing import Literal

import openai
from pydantic import BaseModel

MODEL = os.environ["MODEL"]
ASK = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "What is the weather in Paris?"},
]
client = openai.OpenAI(max_retries=0)


class GetWeather(BaseModel):
    """Look up the weather of a city."""

    city: Literal["Paris", "Rome"]
    days: int


class Capital(BaseModel):
    """A capital."""

    city: Literal["Paris", "Rome"]
    country: Literal["France", "Italy"]


SETTINGS = {"model": MODEL, "temperature": 0, "max_completion_tokens": 400, "n": 1, "store": False}
TOOLS = [openai.pydantic_function_tool(GetWeather, name="get_weather")]


def whole(**request):
    return client.chat.completions.parse(**SETTINGS, **request)


def streamed(**request):
    request["stream_options"] = {"include_usage": True}
    with client.chat.completions.stream(**SETTINGS, **request) as stream:
        kinds = [event.type for event in stream]
        assert kinds.count("chunk") > 2
        return stream.get_final_completion()


def loop(ask):
    first = ask(messages=ASK, tools=TOOLS, tool_choice=sys.argv[1], parallel_tool_calls=False).choices[0]
    assert first.finish_reason == "tool_calls"
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": [{"type": "text", "text": "sunny"}]}
        for call in first.message.tool_calls
    ]
    answer = ask(messages=[*ASK, first.message, *results], tools=TOOLS, tool_choice="none")
    return {
        "calls": [
            [c.function.name, c.function.parsed_arguments.model_dump()] for c in first.message.tool_calls
        ],
        "text": answer.choices[0].message.content,
        "tokens": answer.usage.completion_tokens,
        "finish": answer.choices[0].finish_reason,
    }


def typed(ask):
    return ask(messages=ASK, response_format=Capital).choices[0].message.parsed.model_dump()


async def typed_async():
    async with openai.AsyncOpenAI() as other:
        answer = await other.chat.completions.parse(**SETTINGS, messages=ASK, response_format=Capital)
        return answer.choices[0].message.parsed.model_dump()


print(
    json.dumps(
        {
            "loop": loop(whole),
            "loop_streamed": loop(streamed),
            "schema": typed(whole),
            "schema_streamed": typed(streamed),
            "schema_async": asyncio.run(typed_async()),
        }
    )
)
