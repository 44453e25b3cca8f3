"""Which part of a schema is at fault, where only its compiler knows that something is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

MOST_TRIES = 300
"""Parts that are compiled alone before the answer is as exact as it gets."""
_SHARED = ("$defs", "definitions")
_NAMED = (*_SHARED, "properties", "patternProperties")
"""Definitions first: what refers to a bad one fails as well."""
_LISTED = ("prefixItems", "anyOf", "oneOf", "allOf")
_SINGLE = ("items", "additionalProperties")


def where(schema: Any, fails: Callable[[Any], bool]) -> str:
    """The path of the innermost part of `schema`, which fails, that fails on its own too."""
    shared = {name: schema[name] for name in _SHARED if isinstance(schema, dict) and name in schema}
    path, tries = "$", 0
    found: Any = schema
    while found is not None:
        here, found = found, None
        for step, part in _parts(here):
            tries += 1
            if tries > MOST_TRIES:
                return path
            if fails({**shared, **part}):
                path, found = path + step, part
                break
    return path


def _parts(node: Any) -> Iterator[tuple[str, Any]]:
    """Subschemas that bring their parent down: not `false`, which is rightly without a value."""
    if not isinstance(node, dict):
        return
    for name in _NAMED:
        for key, part in node.get(name, {}).items():
            if isinstance(part, dict):
                yield f".{name}.{key}", part
    for name in _LISTED:
        for index, part in enumerate(node.get(name, ())):
            if isinstance(part, dict):
                yield f".{name}[{index}]", part
    for name in _SINGLE:
        if isinstance(node.get(name), dict):
            yield f".{name}", node[name]
