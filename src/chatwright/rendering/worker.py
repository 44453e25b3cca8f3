"""Templates of requests, rendered in processes that can be killed (contract 3.7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chatwright.core.errors import InvalidChatTemplate
from chatwright.rendering.template import Rendered, RenderJob
from chatwright.workers.pool import ANSWER_OVERHEAD, PoolLimits, Subject, WorkerPool

PARAM = "chat_template"
CHILD = "chatwright.rendering.worker_process"
ESCAPED_BYTE = 6  # bytes that JSON needs for one control character


@dataclass(frozen=True)
class WorkerLimits(PoolLimits):
    """Budgets of one request's template; `source_characters` is its length."""

    source_characters: int = 64 * 2**10


class TemplateWorkerPool(WorkerPool):
    """Workers that render, each one job at a time."""

    def __init__(self, limits: WorkerLimits | None = None) -> None:
        limits = limits or WorkerLimits()
        super().__init__(limits, Subject("chat template", PARAM, InvalidChatTemplate))
        self._source_characters = limits.source_characters

    def _command(self) -> Sequence[str]:
        return CHILD, str(self._limits.memory_bytes)

    async def render(
        self, source: str, special_tokens: Mapping[str, str], job: RenderJob, max_bytes: int
    ) -> Rendered:
        """Render `source` within the limits; `max_bytes` caps the prompt.

        Raises InvalidChatTemplate where the template fails or passes its budget, Overloaded where no worker
        came free, and what `ChatTemplate.render` raises.
        """
        if len(source) > self._source_characters:
            raise InvalidChatTemplate(
                f"The chat template is longer than {self._source_characters} characters.", param=PARAM
            )
        payload = {
            "source": source,
            "special_tokens": dict(special_tokens),
            "job": job,
            "max_bytes": max_bytes,
        }
        answer = await self.run(payload, ESCAPED_BYTE * max_bytes + ANSWER_OVERHEAD)
        return Rendered(answer["text"], tuple(answer["unused_variables"]))
