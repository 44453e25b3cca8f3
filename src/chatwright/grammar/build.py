"""From what a request asks for to one grammar (contract 7)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from chatwright.core.errors import InvalidGrammar, InvalidJsonSchema
from chatwright.grammar import arguments, calls, harmony, structural
from chatwright.grammar.ebnf import EbnfError, to_lark
from chatwright.grammar.lark import Lark, with_layout
from chatwright.grammar.markup import Calls, Job, Thinking
from chatwright.grammar.schema import Prepared, prepare

FORMAT_PARAM = "response_format"
JSON_OBJECT: dict[str, Any] = {"type": "object"}


class Part(msgspec.Struct, frozen=True):
    """A piece of the grammar that can be compiled alone, to find out which one is at fault: a schema or a client's grammar."""

    param: str
    schema: Any = None
    grammar: str = ""
    tool: str = ""

    @property
    def source(self) -> str:
        """For llguidance."""
        return self.grammar or alone(self.schema)


class Built(msgspec.Struct, frozen=True):
    """`source` for llguidance, "" where nothing is constrained. `check` is the answer's schema if it needs validating,
    `tool_checks` those of strict tools that do, by name.
    """

    source: str
    parts: tuple[Part, ...] = ()
    check: Any = None
    checked: tuple[str, ...] = ()
    tool_checks: dict[str, Any] = {}


def build(
    job: Job, special: Mapping[str, int], eos: Iterable[int], relaxed: frozenset[str] = frozenset()
) -> Built:
    """`special` maps the tokenizer's special tokens to ids, `eos` are those that end an answer; the tools in `relaxed` take any
    object. Raises InvalidJsonSchema, InvalidGrammar.
    """
    lark = Lark(special, eos)
    constrained = job.format if not job.must_call else "text"
    content, parts, answer = "", [], Prepared(True, True)
    if constrained == "json_object":
        content = lark.json(JSON_OBJECT)
    elif constrained == "json_schema":
        answer = prepare(_loads(job.format_source), FORMAT_PARAM)
        content = lark.json(answer.schema)
        parts.append(Part(FORMAT_PARAM, answer.schema))
    elif constrained == "grammar":
        source = grammar_source(job.format_source)
        content = lark.subgrammar(source, "grammar")
        parts.append(Part(FORMAT_PARAM, grammar=source))
    elif constrained == "structural_tag":
        content = structural.content(lark, job.format_source, grammar_source)
    for tool in job.uncallable:
        arguments.prepared(tool)
    called = _Called(lark, job, relaxed, parts, alternative=bool(content))
    if not content and not called.any:
        if not (job.limits_thinking and (job.markup.thinking or job.markup.channels)):
            return Built("")
        content = lark.text("TEXT")
    return Built(
        lark.source(_answer(lark, job, content, called)),
        tuple(parts),
        answer.reference if answer.checked else None,
        tuple(sorted({*answer.checked, *called.checked})),
        called.checks,
    )


class _Called:
    """The calls of a job: `only` them, or them `auto`matically beside free text."""

    def __init__(
        self, lark: Lark, job: Job, relaxed: frozenset[str], parts: list[Part], *, alternative: bool
    ) -> None:
        self.any = bool(job.tools and job.markup.calls)
        self.only = self.auto = ""
        self.checks: dict[str, Any] = {}
        self.checked: set[str] = set()
        if not job.tools or job.markup.calls is None:
            return
        schemas: calls.Schemas = {}
        for tool in job.tools:
            whole = arguments.prepared(tool)
            schema = JSON_OBJECT if tool.name in relaxed else whole.schema
            if tool.strict and whole.checked:
                self.checks[tool.name] = whole.reference
                self.checked.update(whole.checked)
            schemas[tool.name] = schema
            parts.append(Part(tool.param, schema, tool=tool.name))
        family = job.markup.calls
        rules = calls.call_rules(
            lark,
            family,
            job.tools,
            schemas,
            single=job.single_call,
            prefix=_prefix(family, lark, alternative),
        )
        self.only = rules.calls
        if job.markup.channels is None and not job.must_call and not alternative:
            self.auto = calls.text_or_calls(lark, family, job.tools, rules)


def _prefix(family: Calls, lark: Lark, alternative: bool) -> str:
    """A marker for a family whose calls have none, where JSON could also be the answer itself."""
    marked = any((family.section_begin + family.begin).startswith(marker) for marker in family.triggers)
    if marked or not alternative:
        return ""
    return next((marker for marker in family.triggers if marker in lark.special), "")


def _answer(lark: Lark, job: Job, content: str, called: _Called) -> str:
    """The whole answer: thinking, then content or calls."""
    if job.markup.channels is not None:
        last = "" if job.must_call else content or lark.text("FINAL")
        return harmony.messages(lark, job.markup.channels, last, called.only, preambles=called.any)
    rest = " | ".join(filter(None, (content, called.auto or called.only)))
    thinking = job.markup.thinking
    if thinking is None:
        return rest
    body = lark.rule("answer", rest)
    return _thought(lark, thinking, job, body)


def _thought(lark: Lark, thinking: Thinking, job: Job, body: str) -> str:
    """Thinking holds neither its own end nor the beginning of a call; it is optional where the prompt didn't open it."""
    triggers = job.markup.calls.triggers if job.tools and job.markup.calls else ()
    until = lark.until(thinking.end, "thinking", without=triggers)
    blank = lark.rule("BLANK", r"/[ \t\r\n]{0,4}/")
    if job.in_thinking:
        return f"{until} {blank} {body}"
    return f"({lark.literal(thinking.start)} {until} {blank})? {body}"


def grammar_source(source: str) -> str:
    """A client's grammar as Lark: EBNF where it has "::=", else Lark already. Raises InvalidGrammar."""
    if "::=" not in source:
        return source
    try:
        return to_lark(source)
    except EbnfError as error:
        raise InvalidGrammar(f"The grammar can't be read: {error}.", param=FORMAT_PARAM) from None


def alone(schema: Any) -> str:
    """A grammar of nothing but this schema."""
    return "start: %json " + json.dumps(with_layout(schema), ensure_ascii=False)


def _loads(source: str) -> Any:
    try:
        return json.loads(source)
    except (ValueError, RecursionError):
        raise InvalidJsonSchema("The schema is not JSON, or nests too deeply.", param=FORMAT_PARAM) from None
