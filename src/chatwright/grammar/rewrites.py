"""Keywords that llguidance lacks, said with those it has. Each rewriting means the same or less, never more."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from chatwright.grammar import numbers
from chatwright.grammar.formats import LENGTHS, PATTERNS
from chatwright.grammar.keywords import FORMATS
from chatwright.grammar.references import References, UnresolvedError

Schema = dict[str, Any]
_APPLICATORS = ("$ref", "allOf", "anyOf", "oneOf", "dependentSchemas", "dependentRequired")
_LOOK_AROUND = re.compile(r"\(\?<?[=!]")
_INTEGER_BOUNDS = {
    "int32": (-(1 << 31), (1 << 31) - 1),
    "int64": (-numbers.INTEGER_LIMIT, numbers.INTEGER_LIMIT),
}


class CannotError(Exception):
    """Keywords that can't be rewritten here, and why."""

    def __init__(self, reason: str, *keywords: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.keywords = keywords


def rewrite(out: Schema, original: Schema, checked: set[str], references: References) -> Any:
    """One subschema whose own subschemas are done. Adds keywords that need checking to `checked`. Raises CannotError."""
    if "not" in out:
        return False
    _tuples(out)
    _unevaluated(out)
    _property_names(out)
    _formats(out, checked)
    _numbers(out)
    if "format" in out and _looks_around(out.get("pattern")):
        del out["pattern"]
        checked.add("pattern")
    _dependencies(out)
    if out.pop("uniqueItems", False) and out.get("maxItems", 2) > 1:
        checked.add("uniqueItems")
    if out.get("minProperties", 0) > 1 and out.get("additionalProperties") is not False:
        checked.add("minProperties")
    if "oneOf" in out:
        branches = out.pop("oneOf")
        if not _exclusive(original["oneOf"], references):
            checked.add("oneOf")
        _all_of(out, {"anyOf": branches}) if "anyOf" in out else out.update(anyOf=branches)
    if out.pop("nullable", False):
        return _nullable(out)
    return out


def with_null(schema: Any) -> Any:
    """The client's schema for a validator: `nullable` said in JSON Schema's own words, no name to resolve against."""
    if isinstance(schema, list):
        return [with_null(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    done = {
        key: value if key in ("enum", "const", "default", "examples") else with_null(value)
        for key, value in schema.items()
        if key not in ("$id", "$schema")
    }
    if isinstance(done.get("items"), list):
        _tuples(done)
    if done.get("nullable") is True:
        del done["nullable"]
        return {"anyOf": [done, {"type": "null"}]}
    return done


def _tuples(out: Schema) -> None:
    """items as an array, and additionalItems, as before 2020-12."""
    if isinstance(out.get("items"), list):
        items = out.pop("items")
        if items:
            out["prefixItems"] = items
        if "additionalItems" in out:
            out["items"] = out["additionalItems"]
    out.pop("additionalItems", None)


def _unevaluated(out: Schema) -> None:
    for keyword, plain in (("unevaluatedProperties", "additionalProperties"), ("unevaluatedItems", "items")):
        if keyword not in out:
            continue
        if any(name in out for name in _APPLICATORS):
            raise CannotError(f"{keyword} can't be enforced beside other schemas; write {plain}", keyword)
        value = out.pop(keyword)
        out.setdefault(plain, value)


def _property_names(out: Schema) -> None:
    """Keys of an object by a pattern of their own."""
    if "propertyNames" not in out:
        return
    names = out["propertyNames"]
    pattern = _name_pattern(names)
    if pattern is None or "patternProperties" in out or out.get("properties"):
        raise CannotError(
            "propertyNames is enforced for pattern, enum, const and lengths, in objects without properties",
            "propertyNames",
        )
    del out["propertyNames"]
    if pattern:
        out["patternProperties"] = {pattern: out.get("additionalProperties", True)}
        out["additionalProperties"] = False


def _name_pattern(names: Any) -> str | None:
    """A regex for the keys, "" for any, None where one keyword isn't enough."""
    if names is True or names in ({}, {"type": "string"}):
        return ""
    if not isinstance(names, dict) or names.get("type", "string") != "string":
        return None
    rest = {key: value for key, value in names.items() if key != "type"}
    if set(rest) == {"pattern"}:
        return str(rest["pattern"])
    if set(rest) <= {"minLength", "maxLength"}:
        return f"^[\\s\\S]{{{rest.get('minLength', 0)},{rest.get('maxLength', '')}}}$"
    values = rest.get("enum", [rest["const"]] if "const" in rest else None)
    if values is None or len(rest) > 1 or not all(isinstance(value, str) for value in values):
        return None
    return "^(" + "|".join(re.escape(value).replace("/", r"\/") for value in values) + ")$"


def _formats(out: Schema, checked: set[str]) -> None:
    """Formats that only document go, those of integers become bounds, some of strings a pattern."""
    name = out.get("format")
    if name in LENGTHS:
        out["maxLength"] = min(out.get("maxLength", LENGTHS[name]), LENGTHS[name])
    if name is None or (name in FORMATS and name not in PATTERNS):
        return
    del out["format"]
    if name in PATTERNS:
        _pattern_of(out, PATTERNS[name], checked)
    elif name in _INTEGER_BOUNDS and out.get("type") in ("integer", "number"):
        low, high = _INTEGER_BOUNDS[name]
        out["minimum"] = max(out.get("minimum", low), low)
        out["maximum"] = min(out.get("maximum", high), high)


def _pattern_of(out: Schema, pattern: str, checked: set[str]) -> None:
    """A format's pattern beside the client's own."""
    if "pattern" not in out or _looks_around(out["pattern"]):
        if "pattern" in out:
            checked.add("pattern")
        out["pattern"] = pattern
    else:
        _all_of(out, {"pattern": pattern})


def _numbers(out: Schema) -> None:
    if refused := numbers.settle(out):
        what = "this multiple" if refused == "multipleOf" else f"numbers beyond ±{numbers.NUMBER_LIMIT:.0e}"
        raise CannotError(f"{what} can't be enforced", refused)


def _looks_around(pattern: Any) -> bool:
    """Whether a pattern is beyond the grammar's regular expressions, but not beyond the validator's."""
    if not isinstance(pattern, str) or not _LOOK_AROUND.search(pattern):
        return False
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _dependencies(out: Schema) -> None:
    """If a property is there, so is what depends on it: absent, or with its dependents."""
    needed: Schema = {name: {"required": others} for name, others in out.pop("dependentRequired", {}).items()}
    for dependents in (needed, out.pop("dependentSchemas", {})):
        for name, schema in dependents.items():
            _all_of(out, {"anyOf": [{"properties": {name: False}}, schema]})


def _all_of(out: Schema, schema: Schema) -> None:
    out["allOf"] = [*out.get("allOf", ()), schema]


def _nullable(out: Schema) -> Schema:
    definitions: Schema = {key: out.pop(key) for key in ("$defs", "definitions") if key in out}
    return {**definitions, "anyOf": [out, {"type": "null"}]}


def _exclusive(branches: Iterable[Any], references: References) -> bool:
    """Whether no value can obey two of these: their types differ, or a property that all require has other values in each."""
    try:
        found = [references.follow(branch) for branch in branches]
    except UnresolvedError:
        return False
    if not all(isinstance(branch, dict) for branch in found):
        return False
    if _apart([_types(branch) for branch in found]):
        return True
    shared = set.intersection(*(_required(branch) for branch in found))
    return any(_apart([_constants(branch["properties"].get(name)) for branch in found]) for name in shared)


def _apart(sets: list[set[str]]) -> bool:
    """Whether these sets are known and share nothing; an empty one is unknown."""
    return all(sets) and sum(map(len, sets)) == len(set.union(*sets))


def _types(schema: Schema) -> set[str]:
    named = schema.get("type", [])
    types = set(named if isinstance(named, list) else [named])
    return types | {"integer"} if "number" in types else types


def _required(schema: Schema) -> set[str]:
    """Required properties; none where the value needn't be an object."""
    plain = schema.get("type") == "object" and isinstance(schema.get("properties"), dict)
    return set(schema.get("required", ())) if plain else set()


def _constants(schema: Any) -> set[str]:
    if not isinstance(schema, dict):
        return set()
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    strings = isinstance(values, list) and all(isinstance(value, str) for value in values)
    return set(values) if strings else set()
