"""Whether a schema that refers to itself allows any value that ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from chatwright.grammar.references import References, UnresolvedError


def endless(schema: Any) -> str:
    """The reference that only values without an end obey, "" where there is none.

    A least fixed point: at first no reference is known to end, and each round finds those that do by what is known.
    """
    references = References(schema)
    pointers = sorted({node["$ref"] for node in _nodes(schema) if isinstance(node.get("$ref"), str)})
    targets = {pointer: _target(references, pointer) for pointer in pointers}
    ending: set[str] = set()
    while True:
        found = {
            pointer for pointer, target in targets.items() if pointer not in ending and _ends(target, ending)
        }
        ending |= found
        if not found:
            break
    return "" if _ends(schema, ending) else next((one for one in pointers if one not in ending), "")


def _target(references: References, pointer: str) -> Any:
    """What a rewriting has moved is taken to end."""
    try:
        return references.target(unquote(pointer))
    except UnresolvedError:
        return True


def _ends(node: Any, ending: set[str]) -> bool:
    """Whether some value of this schema is finite, if those of `ending` have one."""
    if not isinstance(node, dict) or "enum" in node or "const" in node:
        return node is not False
    if "$ref" in node and node["$ref"] not in ending:
        return False
    if not all(_ends(part, ending) for part in node.get("allOf", ())):
        return False
    for several in ("anyOf", "oneOf"):
        if several in node and not any(_ends(part, ending) for part in node[several]):
            return False
    named = node.get("type")
    kinds = named if isinstance(named, list) else [named]
    return any(_kind_ends(kind, node, ending) for kind in kinds)


def _kind_ends(kind: str | None, node: dict[str, Any], ending: set[str]) -> bool:
    if kind == "object":
        parts = node.get("properties", {})
        return all(
            _ends(parts.get(name, node.get("additionalProperties", True)), ending)
            for name in node.get("required", ())
        )
    if kind == "array":
        least, first = node.get("minItems", 0), node.get("prefixItems", [])
        rest = [node.get("items", True)] if least > len(first) else []
        return all(_ends(part, ending) for part in [*first[:least], *rest])
    return True


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every object of the schema; one inside an enum does no harm."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from _nodes(value)
