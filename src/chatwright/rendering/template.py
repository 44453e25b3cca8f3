"""A chat template: parsed once, studied once, rendered often. Used in this process and alone in a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Template
from jinja2.exceptions import TemplateError, TemplateSyntaxError

from chatwright.core.errors import InvalidChatTemplate, UnsupportedParameter
from chatwright.rendering.defaults import documents_block, tools_block
from chatwright.rendering.environment import TemplateRaisedError, build_environment
from chatwright.rendering.prefill import check_prefill, cut_at, mark_final
from chatwright.rendering.shaping import add_block, fit_fields, fold_turns
from chatwright.rendering.traits import find_traits

JsonObject = dict[str, Any]
REASON_LIMIT = 500  # characters of a template's own message that a client gets to see


@dataclass(frozen=True)
class RenderJob:
    """One prompt to make, in plain JSON values: it crosses to a worker so. `messages` is not empty."""

    messages: list[JsonObject]
    tools: list[JsonObject] = field(default_factory=list)
    documents: list[dict[str, str]] = field(default_factory=list)
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    variables: JsonObject = field(default_factory=dict)


@dataclass(frozen=True)
class Rendered:
    """The prompt, and the variables of the request that the template never reads, sorted."""

    text: str
    unused_variables: tuple[str, ...] = ()


class ChatTemplate:
    """A template with the special tokens of its model.

    `param` names the request field that errors while rendering blame: `messages` for the model's own
    template, `chat_template` for one of the request. `max_bytes` caps the prompt in UTF-8. Raises
    InvalidChatTemplate where the source doesn't parse.
    """

    def __init__(
        self,
        source: str,
        special_tokens: Mapping[str, str],
        *,
        param: str = "messages",
        max_bytes: int | None = None,
    ) -> None:
        self._special_tokens = dict(special_tokens)
        self._param = param
        self._max_bytes = max_bytes
        environment = build_environment()
        try:
            tree = environment.parse(source)
            self._template: Template = environment.from_string(tree)
        except Exception as error:
            raise self._refusal(error) from None
        self.traits = find_traits(tree, self._probe)

    @property
    def reads(self) -> frozenset[str]:
        """The top-level variables that the template reads."""
        return self.traits.reads

    def render(self, job: RenderJob) -> Rendered:
        """Make the prompt.

        Raises InvalidChatTemplate where the template refuses or fails, InvalidValue where the final message
        can't be continued, UnsupportedParameter where tools or documents can't be shown.
        """
        messages, marker = job.messages, ""
        if job.continue_final_message:
            check_prefill(messages, job.add_generation_prompt)
            messages, marker = mark_final(messages)
        messages = fold_turns(messages, self.traits)
        blocks = self._blocks(job)
        for block in blocks.values():
            messages = add_block(messages, block, self.traits)
        text = self._run(self._context(job, fit_fields(messages, self.traits)))
        for param, block in blocks.items():
            if block not in text:
                raise UnsupportedParameter(f"The chat template shows no {param}.", param=param)
        if marker:
            text = cut_at(text, marker, job.messages)
        if not text:
            raise InvalidChatTemplate("The chat template made an empty prompt.", param=self._param)
        return Rendered(text, tuple(sorted(job.variables.keys() - self.reads)))

    def _blocks(self, job: RenderJob) -> dict[str, str]:
        """Default blocks by the request field that they show."""
        blocks = {}
        if job.tools and not self.traits.knows_tools:
            blocks["tools"] = tools_block(job.tools)
        if job.documents and not self.traits.knows_documents:
            blocks["documents"] = documents_block(job.documents)
        return blocks

    def _context(self, job: RenderJob, messages: list[JsonObject]) -> JsonObject:
        traits = self.traits
        return {
            **job.variables,
            "messages": messages,
            "tools": job.tools if job.tools and traits.knows_tools else None,
            "documents": job.documents if job.documents and traits.knows_documents else None,
            "add_generation_prompt": job.add_generation_prompt,
        }

    def _run(self, context: JsonObject) -> str:
        try:
            return self._generate(context)
        except InvalidChatTemplate:
            raise
        except Exception as error:
            raise self._refusal(error) from None

    def _generate(self, context: JsonObject) -> str:
        pieces, size = [], 0
        for piece in self._template.generate({**self._special_tokens, **context}):
            # Lone surrogates can come from escapes in the source; no tokenizer takes them, and encoding finds
            # them.
            size += len(piece.encode())
            if self._max_bytes is not None and size > self._max_bytes:
                raise InvalidChatTemplate(
                    f"The chat template makes more than {self._max_bytes} bytes.", param=self._param
                )
            pieces.append(piece)
        return "".join(pieces)

    def _probe(self, context: JsonObject) -> str | None:
        try:
            return self._generate(context)
        except MemoryError:
            raise self._refusal(MemoryError()) from None
        except Exception:
            return None

    def _refusal(self, error: Exception) -> InvalidChatTemplate:
        return InvalidChatTemplate(reason(error), param=self._param)


def reason(error: Exception) -> str:
    """Why a template failed, in its own words where it has some, with the line but without a stack trace."""
    if isinstance(error, TemplateRaisedError):
        return (error.message or "The chat template refused the conversation.")[:REASON_LIMIT]
    if isinstance(error, MemoryError):
        return "The chat template needs more memory than it may use."
    if isinstance(error, RecursionError):
        return "The chat template nests too deeply."
    if isinstance(error, UnicodeEncodeError):
        return "The chat template makes text that is not valid Unicode."
    line = error.lineno if isinstance(error, TemplateSyntaxError) else _line(error)
    where = f" (line {line})" if line else ""
    if isinstance(error, OSError | ImportError):  # their own words name files of this machine
        return f"The chat template failed{where}: it needs something that its sandbox hasn't got."
    kind = "" if isinstance(error, TemplateError) else f"{type(error).__name__}: "
    return f"The chat template failed{where}: {kind}{str(error)[:REASON_LIMIT]}"


def _line(error: Exception) -> int | None:
    """The template's line on which the error arose: jinja2 maps its frames to the template's own lines."""
    line, frame = None, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == "<template>":
            line = frame.tb_lineno
        frame = frame.tb_next
    return line
