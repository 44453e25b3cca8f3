"""What the answer must obey: asked for by `response_format`, `tools` and `tool_choice`, enforced token by token."""

from __future__ import annotations

from chatwright.core.chat import ChatRequest
from chatwright.core.deltas import Delta, Finished, TextDelta, ToolCallDelta
from chatwright.core.errors import InvalidGrammar, InvalidJsonSchema, InvalidRequest
from chatwright.grammar.compiler import Compiled, GrammarCompiler
from chatwright.grammar.markup import Job, ToolSpec
from chatwright.service.markup import markup_of
from chatwright.service.model import ServedModel


async def compile_answer(
    request: ChatRequest, model: ServedModel, prompt_text: str, *, limits_thinking: bool = False
) -> Compiled:
    """The grammar of a request, compiled in a worker. Raises InvalidJsonSchema, InvalidGrammar, Overloaded.

    Nothing is constrained where a model has no compiler.
    """
    if model.grammars is None:
        return Compiled(None)
    fmt = model.format
    named, specs = _callable(request), _specs(request)
    job = Job(
        format=request.format.kind,
        format_source=request.format.source,
        tools=tuple(spec for spec in specs if spec.name in named),
        uncallable=tuple(spec for spec in specs if spec.name not in named),
        must_call=request.tool_choice.mode in ("required", "named"),
        single_call=request.tool_choice.mode == "named" or not request.parallel_tool_calls,
        markup=markup_of(fmt),
        in_thinking=fmt is not None and fmt.starts_in_reasoning(prompt_text),
        limits_thinking=limits_thinking,
    )
    return await model.grammars.compile(job)


def _callable(request: ChatRequest) -> frozenset[str]:
    """The names of the tools that a call may name."""
    choice = request.tool_choice
    if choice.mode == "named":
        return frozenset({choice.name or ""})
    return frozenset() if choice.mode == "none" else frozenset(tool.name for tool in request.tools)


def _specs(request: ChatRequest) -> tuple[ToolSpec, ...]:
    """All tools, as a grammar knows them."""
    return tuple(
        ToolSpec(tool.name, tool.parameters, tool.strict, f"tools.[{index}].function.parameters")
        for index, tool in enumerate(request.tools)
    )


def blamed(error: InvalidGrammar, request: ChatRequest) -> InvalidRequest:
    """An engine that can't follow a grammar any further doesn't know what that was made of."""
    if request.tools and (request.format.kind == "text" or request.tool_choice.mode in ("required", "named")):
        return InvalidJsonSchema(error.message, param="tools")
    return (
        InvalidJsonSchema(error.message, param=error.param) if request.format.kind == "json_schema" else error
    )


class AnswerCheck:
    """Holds a finished answer to what its grammar could not enforce."""

    def __init__(self, grammars: GrammarCompiler | None, compiled: Compiled) -> None:
        self._grammars = grammars
        self._schema = compiled.check
        self._tools = compiled.tool_checks
        self._content: list[str] = []
        self._calls: dict[int, tuple[str, list[str]]] = {}
        self.active = grammars is not None and (bool(self._tools) or self._schema is not None)

    async def take(self, delta: Delta) -> None:
        """See every Delta of the answer before the client does. Raises SchemaNotSatisfied instead of letting a whole answer
        pass that breaks its schema; one that a limit or a stop string cut is what it says.
        """
        if self._grammars is None or not self.active:
            return
        if isinstance(delta, TextDelta):
            self._content.append(delta.text)
        elif isinstance(delta, ToolCallDelta):
            self._calls.setdefault(delta.index, (delta.name or "", []))[1].append(delta.arguments)
        elif isinstance(delta, Finished) and delta.reason == "tool_calls":
            await self._check_calls(self._grammars)
        elif isinstance(delta, Finished) and delta.reason == "stop" and delta.stop_reason is None:
            await self._check_content(self._grammars)

    async def _check_content(self, grammars: GrammarCompiler) -> None:
        if self._schema is not None:
            await grammars.validate(self._schema, "".join(self._content))

    async def _check_calls(self, grammars: GrammarCompiler) -> None:
        for name, arguments in self._calls.values():
            if name in self._tools:
                await grammars.validate(self._tools[name], "".join(arguments), "tools")
