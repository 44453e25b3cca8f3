"""Tool calls as a family writes them: free text until the marker, then name and arguments under the grammar."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from chatwright.grammar.arguments import arguments
from chatwright.grammar.lark import Lark, choice, escaped
from chatwright.grammar.markup import Calls, ToolSpec

MAX_CALLS = 32
"""Calls in one answer: a model that can't stop calling is stopped."""
_BARE_KEYS = ("arguments", "parameters", "function")
_PLAIN_VALUE = r'"([^"\\]|\\(?s:.))*"|[^"{\[,}]*'
_INDEX = re.compile(r"(\{index\})")

Schemas = dict[str, object]
"""Prepared parameters by tool name."""


class CallRules(NamedTuple):
    """Rules for the calls of an answer. `calls` is all of them with their markup, `tail` what follows `trigger` in it."""

    calls: str
    tail: str
    trigger: str


def call_rules(
    lark: Lark, calls: Calls, tools: Sequence[ToolSpec], schemas: Schemas, *, single: bool, prefix: str = ""
) -> CallRules:
    """One call or more of `tools`; `prefix` is put before the first. Raises InvalidJsonSchema."""
    opening = prefix + calls.section_begin
    trigger = _trigger(calls, opening)
    args = {tool.name: arguments(lark, tool, schemas[tool.name], calls) for tool in tools}

    def one(tool: ToolSpec, before: str, cut: int, last: str, number: str) -> str:
        begin = _filled(lark, (before + _named(calls.begin, tool.name))[cut:], number)
        return f"{begin} {args[tool.name]} {lark.closing(_named(calls.end, tool.name) + last)}"

    single = single or _ends_answer(lark, calls.end)

    def whole(cut: int) -> str:
        if single:
            return choice(one(tool, opening, cut, calls.section_end, "0") for tool in tools)
        first = choice(one(tool, opening, cut, "", "0") for tool in tools)
        more = lark.rule(
            "next_call", choice(one(tool, calls.separator, 0, "", "/[0-9]{1,3}/") for tool in tools)
        )
        return f"{first} {more}{{0,{MAX_CALLS - 1}}} {lark.closing(calls.section_end)}"

    return CallRules(
        lark.rule("calls", whole(0)),
        lark.rule("after_trigger", whole(len(trigger))) if trigger else "",
        trigger,
    )


def text_or_calls(lark: Lark, calls: Calls, tools: Sequence[ToolSpec], rules: CallRules) -> str:
    """auto: text that holds no beginning of a call, or such text, maybe empty, and calls."""
    not_first = _bare_beginning(calls, tools) if calls.bare else ""
    text = lark.text("TEXT", without={*calls.triggers}, not_first=not_first)
    if not rules.trigger:
        return f"{text} | {rules.calls}"
    others = set(calls.triggers) - {rules.trigger}
    head = lark.until(rules.trigger, "before_call", without=others, not_first=not_first)
    return f"{text} | {head} {rules.tail}"


def _trigger(calls: Calls, opening: str) -> str:
    """The marker that the first call begins with, whatever the tool; "" for a family without."""
    common = opening + calls.begin.partition("{name}")[0]
    return max((marker for marker in calls.triggers if common.startswith(marker)), key=len, default="")


def _named(text: str, name: str) -> str:
    return text.replace("{name}", json.dumps(name)[1:-1])


def _filled(lark: Lark, text: str, number: str) -> str:
    """A literal in which {index} stands for the call's number."""
    fill: Callable[[str], str] = lambda part: (  # noqa: E731
        (f'"{number}"' if number.isdigit() else number) if part == "{index}" else lark.literal(part)
    )
    return " ".join(filter(None, map(fill, _INDEX.split(text)))) or '""'


def _ends_answer(lark: Lark, end: str) -> bool:
    """Whether a call's end is a token that ends the answer, so that there can be but one."""
    return lark.closing(end) != lark.literal(end)


def _bare_beginning(calls: Calls, tools: Sequence[ToolSpec]) -> str:
    """A regex for what the family's parser would take for a call at the answer's start.

    It looks through the keys `type` and `id` before the name; where their values nest, or a key or name is written with
    escapes, text may not go on at all, though it might have turned out to be no call.
    """
    names = "|".join(escaped(tool.name) for tool in tools)
    if calls.arguments == "keywords":
        return rf"\s*\[\s*({names})\("
    decides = rf'(name"\s*:\s*"(({names})"|[^"\\]*\\)|({"|".join(_BARE_KEYS)})"\s*:|[^"\\]*\\)'
    passed_over = rf'(type|id)"\s*:\s*({_PLAIN_VALUE})\s*,\s*"'
    nested = r'(type|id)"\s*:\s*[{\[]'
    return rf'\s*(\[\s*)?\{{\s*"({passed_over})*({decides}|{nested})'
