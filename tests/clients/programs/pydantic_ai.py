"""PydanticAI: a tool loop and typed outputs, whole and streamed. Prints them as JSON.

argv[1]: "auto" to let agents call their tool; with "required" only typed outputs are asked for.
"""

import asyncio
import json
import os
import sys
from typing import Literal

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

ASK = "What is the weather in Paris?"
provider = OpenAIProvider(base_url=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"])
model = OpenAIChatModel(os.environ["MODEL"], provider=provider)
settings = {"temperature": 0, "max_tokens": 400}


class Capital(BaseModel):
    """A capital."""

    city: Literal["Paris", "Rome"]
    country: Literal["France", "Italy"]


def agent(**options):
    return Agent(model, instructions="Be brief.", model_settings=settings, **options)


def caller():
    called = []
    one = agent()

    @one.tool_plain
    def get_weather(city: Literal["Paris", "Rome"], days: int = 1) -> dict[str, object]:
        """Look up the weather of a city."""
        called.append(["get_weather", {"city": city, "days": days}])
        return {"city": city, "sky": "sunny"}

    return one, called


async def loop():
    one, called = caller()
    result = await one.run(ASK)
    return {"calls": called, "text": result.output, "tokens": result.usage.output_tokens}


async def loop_streamed():
    one, called = caller()
    async with one.run_stream(ASK) as result:
        parts = [part async for part in result.stream_text(delta=True, debounce_by=None)]
    assert len(parts) > 1
    return {"calls": called, "text": "".join(parts), "tokens": result.usage.output_tokens}


async def typed(output):
    return (await agent(output_type=output).run(ASK)).output.model_dump()


async def typed_streamed(output):
    async with agent(output_type=output).run_stream(ASK) as result:
        return [part async for part in result.stream_output()][-1].model_dump()


async def main():
    said = {}
    if sys.argv[1] == "auto":
        said |= {"loop": await loop(), "loop_streamed": await loop_streamed()}
    said |= {
        "schema": await typed(NativeOutput(Capital)),
        "schema_streamed": await typed_streamed(NativeOutput(Capital)),
        "function": await typed(ToolOutput(Capital)),
        "function_streamed": await typed_streamed(ToolOutput(Capital)),
    }
    print(json.dumps(said))


asyncio.run(main())
