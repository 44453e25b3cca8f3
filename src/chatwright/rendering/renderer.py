"""What the service holds for each model: requests in, prompt text out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from chatwright.core.chat import ChatRequest
from chatwright.core.errors import InvalidChatTemplate
from chatwright.core.messages import Tool
from chatwright.rendering.normalise import message_dicts, tool_dicts
from chatwright.rendering.template import ChatTemplate, Rendered, RenderJob
from chatwright.rendering.variables import check_variables
from chatwright.rendering.worker import TemplateWorkerPool

BYTES_PER_CONTEXT_TOKEN = 32
"""What a request's template may write: four times the eight bytes of a long token."""


class Renderer:
    """The templates of one model.

    `source` is the model's template, or several by name of which "tool_use" serves requests with tools and
    "default" the others, or None for a model without one. `special_tokens` are variables such as `bos_token`.
    `context_length` is in tokens. Raises InvalidChatTemplate where a source doesn't parse.
    """

    def __init__(
        self,
        source: str | Mapping[str, str] | None,
        special_tokens: Mapping[str, str],
        workers: TemplateWorkerPool | None,
        context_length: int,
    ) -> None:
        sources = {"default": source} if isinstance(source, str) else dict(source or {})
        self._special_tokens = dict(special_tokens)
        self._workers = workers
        self._max_bytes = BYTES_PER_CONTEXT_TOKEN * context_length
        self._templates = {name: ChatTemplate(text, special_tokens) for name, text in sources.items()}

    @property
    def reads(self) -> frozenset[str]:
        """The variables that the model's own templates read."""
        return frozenset().union(*(template.reads for template in self._templates.values()))

    async def render(
        self, request: ChatRequest, tools: Sequence[Tool], extra_variables: Mapping[str, Any] | None = None
    ) -> Rendered:
        """The prompt of a request.

        `tools` are those that the model shall see; `extra_variables` are the server's, overridden by the
        request's own. Runs off the event loop. Raises InvalidChatTemplate, InvalidValue,
        UnsupportedParameter, InvalidImage.
        """
        check_variables(request.prompt.template_args, self._special_tokens)
        source = request.prompt.chat_template
        if source is not None and self._workers is None:
            raise InvalidChatTemplate(
                "This server takes no chat templates from requests.", param="chat_template"
            )
        job = await asyncio.to_thread(make_job, request, tools, extra_variables or {})
        if source is not None and self._workers is not None:
            return await self._workers.render(source, self._special_tokens, job, self._max_bytes)
        template = self._select(bool(tools))
        return await asyncio.to_thread(template.render, job)

    def _select(self, has_tools: bool) -> ChatTemplate:
        names = ("tool_use", "default") if has_tools else ("default",)
        found = next((self._templates[name] for name in names if name in self._templates), None)
        if found is None:
            raise InvalidChatTemplate(
                "This model has no chat template of its own; send one as chat_template.", param="messages"
            )
        return found


def make_job(request: ChatRequest, tools: Sequence[Tool], extra_variables: Mapping[str, Any]) -> RenderJob:
    """The request in plain values. Raises InvalidImage."""
    options = request.prompt
    return RenderJob(
        messages=message_dicts(request.messages),
        tools=tool_dicts(tools),
        documents=list(options.documents),
        add_generation_prompt=options.add_generation_prompt,
        continue_final_message=options.continue_final_message,
        variables={**extra_variables, **options.template_args},
    )
