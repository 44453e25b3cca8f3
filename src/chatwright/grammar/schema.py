"""From a client's JSON Schema to one that the grammar enforces in full, or a refusal that names the path.

Constrained decoding needs every answer to be valid, not every valid answer to be possible: where a keyword can be rewritten
into others, the rewriting may be stricter. With `lenient` (tools without `strict`) what can't be enforced is dropped instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import msgspec

from chatwright.core.errors import InvalidJsonSchema
from chatwright.grammar import numbers, rewrites
from chatwright.grammar.finite import endless
from chatwright.grammar.keywords import (
    FORMATS,
    KEYWORDS,
    PLAIN_FORMATS,
    UNENFORCED_FORMATS,
    Handling,
    annotates,
)
from chatwright.grammar.references import References, UnresolvedError

MAX_DEPTH = 40
MAX_NODES = 20_000
MAX_ENUM = 10_000
MAX_PATTERN = 2_000
MAX_COUNT = 1_000_000
_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
_CONTROL = re.compile(r"[\x00-\x07\x0b\x0e-\x1f\ud800-\udfff]")
"""What the short escapes of JSON can't write, and halves of characters."""


class Prepared(msgspec.Struct, frozen=True):
    """`schema` for the grammar; `checked` keywords, sorted, need the answer to be validated against `reference`."""

    schema: Any
    reference: Any
    checked: tuple[str, ...] = ()


def prepare(schema: Any, param: str, *, lenient: bool = False) -> Prepared:
    """Raises InvalidJsonSchema for what is malformed, too large, unresolvable, or can't be enforced."""
    walk = _Walk(schema, param, lenient)
    done = walk.schema(schema, "$", 0)
    if pointer := endless(done):
        raise walk.fail("$", f"only values without an end obey $ref {pointer[:100]!r}")
    checked = tuple(sorted(walk.checked))
    return Prepared(done, rewrites.with_null(schema), checked)


class _Walk:
    """One pass over a schema."""

    def __init__(self, root: Any, param: str, lenient: bool) -> None:
        self._param = param
        self._lenient = lenient
        self._nodes = 0
        self._enum = 0
        self.checked: set[str] = set()
        self.references = References(root)

    def fail(self, path: str, reason: str) -> InvalidJsonSchema:
        """The refusal of what stands at `path`."""
        return InvalidJsonSchema(f"At {path[:300]}: {reason}.", param=self._param)

    def schema(self, node: Any, path: str, depth: int) -> Any:
        """A subschema, rewritten."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self.fail(path, f"the schema has more than {MAX_NODES} subschemas")
        if depth > MAX_DEPTH:
            raise self.fail(path, f"the schema nests deeper than {MAX_DEPTH} levels")
        if isinstance(node, bool):
            return node
        if not isinstance(node, dict):
            raise self.fail(path, "a schema must be an object or a boolean")
        kept = {key: value for key, value in node.items() if self._known(key, value, path, depth)}
        if "pattern" in kept and _named_by_pattern(kept.get("format")):
            del kept["format"]
        out: dict[str, Any] = {}
        for key, value in kept.items():
            out[key] = self._value(key, value, f"{path}.{key}", depth)
        try:
            return rewrites.rewrite(out, kept, self.checked, self.references)
        except rewrites.CannotError as error:
            if self._lenient:
                return {key: value for key, value in out.items() if key not in error.keywords}
            raise self.fail(f"{path}.{error.keywords[0]}", error.reason) from None

    def _known(self, key: str, value: Any, path: str, depth: int) -> bool:
        """Whether to keep a keyword. Annotations go, since they mean nothing to the grammar."""
        keyword = KEYWORDS.get(key)
        if annotates(key):
            if key == "$id" and depth > 0:
                raise self.fail(f"{path}.{key}", "$id is allowed at the top only")
            return False
        if keyword is None or (keyword.handling is Handling.REFUSED and not _never(key, value)):
            if self._lenient:
                return False
            near = get_close_matches(key, KEYWORDS, 1) if keyword is None else []
            hint = f"; did you mean {near[0]!r}?" if near else ""
            what = "is not a keyword of JSON Schema" if keyword is None else "can't be enforced"
            raise self.fail(f"{path}.{key[:100]}", f"{key[:100]!r} {what}{hint}")
        return True

    def _value(self, key: str, value: Any, path: str, depth: int) -> Any:
        if key == "$ref":
            try:
                if self.references.follow({"$ref": value}) is None:
                    raise UnresolvedError("$ref runs in a circle")
                return self.references.pointer(value)
            except UnresolvedError as error:
                raise self.fail(path, str(error)) from None
        if reader := _READERS.get(key):
            return reader(self, key, value, path, depth)
        return value

    # -- values by their kind, each (keyword, value, path, depth) -> value ----------------------------------------

    def one(self, _key: str, value: Any, path: str, depth: int) -> Any:
        """A schema; the array form of `items` is a list of them."""
        if isinstance(value, list) and path.endswith(".items"):
            return self.many(_key, value, path, depth)
        return self.schema(value, path, depth + 1)

    def many(self, key: str, value: Any, path: str, depth: int) -> list[Any]:
        """A list of schemas."""
        if not isinstance(value, list) or not (value or key == "items"):
            raise self.fail(path, f"{key} must be a non-empty array of schemas")
        return [self.schema(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]

    def named(self, key: str, value: Any, path: str, depth: int) -> dict[str, Any]:
        """Schemas by name or pattern."""
        if not isinstance(value, dict):
            raise self.fail(path, f"{key} must be an object of schemas")
        for name in value:
            if key == "patternProperties":
                self.pattern(key, name, path, depth)
            elif key == "properties":
                self._writable(name, path)
        return {name: self.schema(item, f"{path}.{name}", depth + 1) for name, item in value.items()}

    def count(self, key: str, value: Any, path: str, _depth: int) -> int:
        """A whole number from 0 on."""
        whole = isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
        if not whole or value < 0:
            raise self.fail(path, f"{key} must be a whole number, 0 or more")
        if value > MAX_COUNT and key.startswith("min"):
            raise self.fail(path, f"{key} may be at most {MAX_COUNT}")
        return min(int(value), MAX_COUNT)

    def number(self, key: str, value: Any, path: str, _depth: int) -> int | float:
        """A number; multipleOf must be above 0."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.fail(path, f"{key} must be a number")
        if key == "multipleOf" and value <= 0:
            raise self.fail(path, "multipleOf must be above 0")
        return value

    def flag(self, key: str, value: Any, path: str, _depth: int) -> bool:
        """true or false."""
        if not isinstance(value, bool):
            raise self.fail(path, f"{key} must be true or false")
        return value

    def kinds(self, _key: str, value: Any, path: str, _depth: int) -> Any:
        """A type name or several."""
        names = value if isinstance(value, list) else [value]
        if not names or any(name not in _TYPES for name in names if isinstance(name, str)):
            raise self.fail(path, f"type must be one or more of {', '.join(_TYPES)}")
        if not all(isinstance(name, str) for name in names):
            raise self.fail(path, "type must be a string or an array of strings")
        return value

    def values(self, key: str, value: Any, path: str, _depth: int) -> Any:
        """The values of enum, or that of const."""
        listed = value if key == "enum" else [value]
        if not isinstance(listed, list) or not listed:
            raise self.fail(path, "enum must be a non-empty array")
        self._enum += len(listed)
        if self._enum > MAX_ENUM:
            raise self.fail(path, f"the schema has more than {MAX_ENUM} enum values")
        self._writable(listed, path)
        if not _exact(listed):
            raise self.fail(path, f"{key} has an integer that a double can't hold exactly")
        return value

    def names(self, key: str, value: Any, path: str, _depth: int) -> list[str]:
        """Property names."""
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise self.fail(path, f"{key} must be an array of strings")
        self._writable(value, path)
        return list(dict.fromkeys(value))

    def names_by_name(self, key: str, value: Any, path: str, depth: int) -> dict[str, list[str]]:
        """Property names by property name."""
        if not isinstance(value, dict):
            raise self.fail(path, f"{key} must be an object of arrays")
        return {name: self.names(key, item, f"{path}.{name}", depth) for name, item in value.items()}

    def pattern(self, _key: str, value: Any, path: str, _depth: int) -> str:
        """A regular expression; whether it compiles shows with the grammar."""
        if not isinstance(value, str):
            raise self.fail(path, "a pattern must be a string")
        if len(value) > MAX_PATTERN:
            raise self.fail(path, f"a pattern may have at most {MAX_PATTERN} characters")
        return value

    def format(self, _key: str, value: Any, path: str, _depth: int) -> Any:
        """A format's name; None for one that restricts nothing."""
        if not isinstance(value, str):
            raise self.fail(path, "format must be a string")
        if value in FORMATS or value in PLAIN_FORMATS or self._lenient:
            return value
        raise self.fail(
            path, f"the format {value[:100]!r} can't be enforced; known are {', '.join(sorted(FORMATS))}"
        )

    def _writable(self, value: Any, path: str) -> None:
        """Raises for text that the JSON this server generates can't hold."""
        if isinstance(value, str) and _CONTROL.search(value):
            raise self.fail(path, "control characters other than \\b \\t \\n \\f \\r can't be generated")
        if isinstance(value, list | dict):
            for item in value:
                self._writable(item, path)
            for item in value.values() if isinstance(value, dict) else ():
                self._writable(item, path)


def _exact(value: Any) -> bool:
    """Whether all numbers in a value come out as they are."""
    if isinstance(value, list):
        return all(map(_exact, value))
    return all(map(_exact, value.values())) if isinstance(value, dict) else numbers.exact(value)


def _never(key: str, value: Any) -> bool:
    """`not` of everything, as code generators write "never"."""
    return key == "not" and (value is True or value == {})


def _named_by_pattern(name: Any) -> bool:
    """Whether a format that stands beside a pattern only names it."""
    return isinstance(name, str) and name not in FORMATS | PLAIN_FORMATS | UNENFORCED_FORMATS


_Reader = Callable[[_Walk, str, Any, str, int], Any]
_READERS: dict[str, _Reader] = {
    **dict.fromkeys(
        ("additionalProperties", "propertyNames", "items", "additionalItems", "unevaluatedItems", "unevaluatedProperties"),
        _Walk.one,
    ),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _Walk.many),
    **dict.fromkeys(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"), _Walk.named),
    **dict.fromkeys(
        ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"), _Walk.count
    ),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), _Walk.number),
    **dict.fromkeys(("uniqueItems", "nullable"), _Walk.flag),
    "type": _Walk.kinds, "enum": _Walk.values, "const": _Walk.values, "required": _Walk.names,
    "dependentRequired": _Walk.names_by_name, "pattern": _Walk.pattern, "format": _Walk.format,
}  # fmt: skip
