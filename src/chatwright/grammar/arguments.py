"""A call's arguments in the syntax of its family: one JSON object, tagged parameters, or Python keywords."""

from __future__ import annotations

import re
from typing import Any

from chatwright.core.errors import InvalidJsonSchema
from chatwright.grammar.keywords import annotates
from chatwright.grammar.lark import ANYTHING, Lark, choice
from chatwright.grammar.markup import Calls, Parameters, ToolSpec
from chatwright.grammar.schema import Prepared, prepare

NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
_KEYWORD = re.compile(r"[A-Za-z_][\w.:-]*")
_PER_PROPERTY = frozenset({"type", "properties", "required", "additionalProperties", "$defs", "definitions"})
"""What can be enforced where arguments are not one JSON object."""


def prepared(tool: ToolSpec) -> Prepared:
    """The tool's schema, sure to mean an object. Raises InvalidJsonSchema; without `strict` only for malformed ones."""
    schema = tool.parameters or NO_PARAMETERS
    kinds = schema.get("type", "object")
    if kinds != "object" and not (isinstance(kinds, list) and "object" in kinds):
        raise InvalidJsonSchema("At $.type: parameters must be of type object.", param=tool.param)
    return prepare({**closed(schema), "type": "object"}, tool.param, lenient=not tool.strict)


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """A function takes the arguments it lists: unless its schema says more, others may not be made up."""
    opens = {key for key in schema if key not in _PER_PROPERTY and not annotates(key)}
    return schema if opens or "properties" not in schema else {"additionalProperties": False, **schema}


def arguments(lark: Lark, tool: ToolSpec, schema: Any, calls: Calls) -> str:
    """A rule for the arguments of one tool. Raises InvalidJsonSchema where the family's syntax can't hold the schema."""
    if calls.arguments == "json":
        return lark.json(schema, "arguments")
    _check_flat(tool, schema, calls)
    if calls.arguments == "keywords":
        return _keywords(lark, tool, schema)
    assert calls.parameters is not None
    return tagged(lark, schema, calls.parameters)


def _check_flat(tool: ToolSpec, schema: dict[str, Any], calls: Calls) -> None:
    extra = sorted(set(schema) - _PER_PROPERTY)
    texts = [part for part in schema.get("properties", {}).values() if isinstance(part, dict)]
    extra += [
        "pattern" for part in texts if calls.arguments == "parameters" and {"pattern", "format"} & set(part)
    ]
    inner = [ref for ref in _references(schema) if not ref.startswith(("#/$defs/", "#/definitions/"))]
    if tool.strict and (extra or inner):
        what = f"{extra[0]!r}" if extra else f"$ref {inner[0]!r}"
        raise InvalidJsonSchema(f"This model's way to write calls can't enforce {what}.", param=tool.param)


def _references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [ref for item in node for ref in _references(item)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
    return own + [
        ref for key, item in node.items() if key not in ("enum", "const") for ref in _references(item)
    ]


def _properties(schema: dict[str, Any]) -> list[tuple[str, Any, bool]]:
    """Name, schema as a document of its own, whether required; names that only `required` lists come last."""
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    required = schema.get("required", [])
    named = {
        **schema.get("properties", {}),
        **{name: True for name in required if name not in schema.get("properties", {})},
    }
    found = []
    for name, part in named.items():
        if part is False:
            continue
        whole = {**part, **shared} if isinstance(part, dict) else {}
        outside = [r for r in _references(whole) if not r.startswith(("#/$defs/", "#/definitions/"))]
        found.append((name, {} if outside else whole, name in required))
    return found


def _keywords(lark: Lark, tool: ToolSpec, schema: dict[str, Any]) -> str:
    """name=value, ... in the order of the schema; values are JSON, which the family's parser reads too."""
    rest, first = "", ""
    for name, part, needed in reversed(_properties(schema)):
        if not _KEYWORD.fullmatch(name):
            raise InvalidJsonSchema(
                f"The argument name {name[:100]!r} can't be written as a keyword.", param=tool.param
            )
        value = lark.json(part, "value")
        one = f"{lark.literal(name + '=')} {value}"
        options = [f"{one} {rest}".strip()] + ([] if needed else [first or '""'])
        first = lark.rule("first", " | ".join(options))
        rest = lark.rule(
            "more", f'", " {one} {rest}'.strip() + ("" if needed else f" | {rest or chr(34) * 2}")
        )
    return first or '""'


def tagged(lark: Lark, schema: dict[str, Any], tags: Parameters) -> str:
    """Each argument in its tags, in the order of the schema."""
    parts = []
    pad = "\n" if tags.padded else ""
    between = "\n" if tags.value_open else pad
    for name, part, needed in _properties(schema):
        head = lark.literal(f"{tags.key_open}{name}{tags.key_close}{between}{tags.value_open}")
        one = lark.rule(
            "parameter", f"{head} {_value(lark, part, pad + tags.value_close)} {lark.literal(chr(10))}"
        )
        parts.append(one if needed else f"{one}?")
    return " ".join(parts) or '""'


def _value(lark: Lark, schema: dict[str, Any], close: str) -> str:
    """A value and its closing tag: text as it is where it may be a string, else JSON."""
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if values is not None and all(isinstance(value, str) for value in values):
        return f"{choice(lark.literal(value) for value in values)} {lark.literal(close)}"
    kinds = schema.get("type")
    if kinds is None and not schema.keys() - {"$defs", "definitions"}:
        return lark.until(close, "value")
    if kinds != "string" and not (isinstance(kinds, list) and "string" in kinds):
        return f"{lark.json(schema, 'value')} {lark.literal(close)}"
    regex = ANYTHING
    if "minLength" in schema or "maxLength" in schema:
        regex += f" & /(?s:.){{{schema.get('minLength', 0)},{schema.get('maxLength', '')}}}/"
    return lark.until(close, "value", regex=regex)
