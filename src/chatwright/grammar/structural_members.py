"""The members of structural tags: each format has its own and no others, and faults name the path."""

from __future__ import annotations

from typing import Any

from chatwright.core.errors import InvalidGrammar
from chatwright.grammar.lark import Lark

PARAM = "response_format"
MAX_REPEAT = 10_000
Node = dict[str, Any]
TAG: dict[str, Any] = {"begin": (str, dict), "content": dict, "end": (str, list, dict)}
"""What a tag must have."""


def fault(path: str, reason: str) -> InvalidGrammar:
    """What is wrong with the tag, and where."""
    return InvalidGrammar(f"At {path[:300]}: {reason}.", param=PARAM)


def members(node: Any, path: str, *optional: str, **kinds: type | tuple[type, ...]) -> Node:
    """The format, which has its type, all of `kinds`, maybe some of `optional`, and nothing else."""
    if not isinstance(node, dict):
        raise fault(path, "expected an object")
    for name, kind in kinds.items():
        value = node.get(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and not _takes_flag(kind)):
            raise fault(f"{path}.{name}", "this member is missing or of the wrong type")
    unknown = node.keys() - {"type", *optional, *kinds}
    if unknown:
        raise fault(f"{path}.{min(unknown)[:100]}", "this member is unknown or can't be enforced")
    return node


def strings(value: Any, path: str) -> list[str]:
    """An array of strings."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise fault(path, "expected an array of strings")
    return value


def flag(node: Node, name: str, path: str, *, default: bool = False) -> bool:
    """true or false."""
    value = node.get(name, default)
    if not isinstance(value, bool):
        raise fault(f"{path}.{name}", "expected true or false")
    return value


def repetition(node: Node, path: str) -> str:
    """How often the content of optional, plus, star or repeat comes, in Lark."""
    kind = node["type"]
    if kind != "repeat":
        members(node, path, content=dict)
        return {"optional": "?", "plus": "+", "star": "*"}[kind]
    found = members(node, path, content=dict, min=int, max=int)
    least, most = found["min"], found["max"]
    if not 0 <= least <= MAX_REPEAT or not (most == -1 or least <= most <= MAX_REPEAT):
        raise fault(path, f"a repetition is at most {MAX_REPEAT} times, from min to max; -1 is no limit")
    return f"{{{least},{'' if most == -1 else most}}}"


def token_text(lark: Lark, token: Any, path: str) -> str:
    """The literal of a special token given by its text or id; other tokens are text, which literals are for."""
    if isinstance(token, str) and token in lark.special:
        return token
    if isinstance(token, int) and not isinstance(token, bool):
        for text, token_id in lark.special.items():
            if token_id == token:
                return text
    raise fault(path, "this is not one of the model's special tokens")


def is_kind(node: Any, kind: str) -> bool:
    """Whether this is a format of that type."""
    return isinstance(node, dict) and node.get("type") == kind


def _takes_flag(kind: type | tuple[type, ...]) -> bool:
    return kind is bool or (isinstance(kind, tuple) and bool in kind)
