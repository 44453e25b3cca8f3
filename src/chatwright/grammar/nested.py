"""One Lark text for a grammar that has others within it: what servers take that know no list of grammars."""

from __future__ import annotations

import json
import re

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|/(?:\\.|[^/\\\n])+/|//[^\n]*|@(?P<name>\w+)')
"""A string, a regex, a comment, or a reference to another grammar."""
_HEADER = re.compile(r"\A\s*%llguidance\s*\{\s*\}")


def as_one(source: str) -> str:
    """The source of a compiled grammar as one Lark text; lists of grammars become nested ones (llguidance's %lark)."""
    if not source.startswith("{"):
        return source
    answer, *others = json.loads(source)["grammars"]
    text = _TOKEN.sub(_reference, answer["lark_grammar"])
    for grammar in others:
        inner = _HEADER.sub("", _TOKEN.sub(_reference, grammar["lark_grammar"]))
        text += f"{_rule(grammar['name'])}: %lark {{\n{inner}\n}}\n"
    return text


def _reference(token: re.Match[str]) -> str:
    name = token["name"]
    return token[0] if name is None else _rule(name)


def _rule(name: str) -> str:
    """No rule of ours has such a name."""
    return f"nested__{name}"
