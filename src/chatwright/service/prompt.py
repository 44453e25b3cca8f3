"""From messages to prompt tokens: render, encode, truncate (contract 3.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

import msgspec

from chatwright.core.chat import ChatRequest
from chatwright.core.errors import InvalidValue
from chatwright.core.generation import Prompt
from chatwright.core.messages import Tool
from chatwright.service.model import ServedModel
from chatwright.tokenization.tokenizer import Tokenizer

ENCODED_ON_LOOP = 4096
"""Texts up to so many characters are encoded at once (about a millisecond); longer ones in a thread."""
ENCODED_WITH_OTHERS = 64 * 1024
"""Up to so many, in a thread that all requests share; longer ones take seconds, and wait for one another only."""
_LONG_WORK = ThreadPoolExecutor(2, thread_name_prefix="long")

P = ParamSpec("P")
T = TypeVar("T")


class BuiltPrompt(msgspec.Struct, frozen=True):
    """A prompt, and the template variables of the request that its template never reads."""

    prompt: Prompt
    unused_variables: tuple[str, ...]


async def build_prompt(request: ChatRequest, model: ServedModel) -> BuiltPrompt:
    """Raises InvalidChatTemplate and other InvalidRequests of the rendering room; InvalidValue for an empty prompt."""
    variables = {} if request.reasoning_effort is None else {"reasoning_effort": request.reasoning_effort}
    rendered = await model.renderer.render(request, visible_tools(request), variables)
    special = request.prompt.add_special_tokens
    ids = await encode(model.tokenizer, rendered.text, special)
    if not ids:
        param = "messages" if request.prompt.chat_template is None else "chat_template"
        raise InvalidValue(
            "The chat template rendered an empty prompt; there is nothing to continue.", param=param
        )
    keep = request.prompt.truncate_prompt_tokens
    cut = max(0, len(ids) - keep) if keep is not None else 0
    return BuiltPrompt(Prompt(ids[cut:], rendered.text, cut), rendered.unused_variables)


async def encode(tokenizer: Tokenizer, text: str, add_special_tokens: bool = False) -> tuple[int, ...]:
    """Token ids of a client's text; other requests go on meanwhile."""
    if len(text) <= ENCODED_ON_LOOP:
        return tokenizer.encode(text, add_special_tokens)
    if len(text) <= ENCODED_WITH_OTHERS:
        return await asyncio.to_thread(tokenizer.encode, text, add_special_tokens)
    return await aside(tokenizer.encode, text, add_special_tokens)


async def aside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Work of seconds, in one of two threads of its own: many such jobs must not keep others from theirs."""
    return await asyncio.get_running_loop().run_in_executor(_LONG_WORK, partial(work, *args, **kwargs))


def visible_tools(request: ChatRequest) -> tuple[Tool, ...]:
    """The tools the model is shown: none under tool_choice none (contract 7.2)."""
    return () if request.tool_choice.mode == "none" else request.tools
