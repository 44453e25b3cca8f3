"""JSON Schema 2020-12 by keyword: what the grammar enforces, what is checked after generation, what is refused.

This is the published table; `schema.py` reads it, so the two can't disagree.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Handling(StrEnum):
    """What becomes of a keyword."""

    ENFORCED = "enforced by the grammar"
    CHECKED = "checked after generation"
    ANNOTATION = "accepted; says nothing about validity"
    REFUSED = "refused"


class Keyword(NamedTuple):
    """One line of the table. `note` tells the exceptions."""

    name: str
    handling: Handling
    note: str = ""


FORMATS = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri",
})  # fmt: skip
"""String formats that the grammar enforces."""
PLAIN_FORMATS = frozenset({"password", "path", "binary", "float", "double", "int32", "int64"})
"""Formats of OpenAPI and of code generators; all but int32 and int64 restrict nothing, and those become bounds."""
UNENFORCED_FORMATS = frozenset({
    "idn-email", "idn-hostname", "uri-reference", "iri", "iri-reference", "uri-template", "json-pointer",
    "relative-json-pointer", "regex",
})  # fmt: skip
"""The standard's other formats: refused. A name of nobody's standard beside a pattern is that pattern's name (zod)."""

_E, _C, _A, _R = Handling.ENFORCED, Handling.CHECKED, Handling.ANNOTATION, Handling.REFUSED

_FORMATS = ", ".join(sorted(FORMATS)) + " (days that exist, no leap seconds, readable durations)"

_TABLE = (
    Keyword("type", _E, "integers within ±9.2e18, so that their digits end"),
    Keyword("enum", _E, "integers that a double can't hold exactly are refused"),
    Keyword("const", _E, "likewise"),
    Keyword("properties", _E, "keys come in the order of the schema"),
    Keyword("required", _E),
    Keyword("additionalProperties", _E),
    Keyword("patternProperties", _E, "patterns that overlap are refused"),
    Keyword("propertyNames", _E, "pattern, enum, const and lengths; refused beside patternProperties"),
    Keyword("minProperties", _E, "from 2 on also checked, since an open object may repeat a key"),
    Keyword("maxProperties", _E, "refused where optional properties are listed"),
    Keyword("dependentRequired", _E),
    Keyword("dependentSchemas", _E),
    Keyword("unevaluatedProperties", _E, "refused beside $ref, allOf, anyOf, oneOf or dependentSchemas"),
    Keyword("items", _E, "the older array form counts as prefixItems"),
    Keyword("prefixItems", _E),
    Keyword("additionalItems", _E, "the older name of items behind a tuple"),
    Keyword("unevaluatedItems", _E, "refused beside $ref, allOf, anyOf or oneOf"),
    Keyword("minItems", _E),
    Keyword("maxItems", _E),
    Keyword("uniqueItems", _C),
    Keyword("minLength", _E),
    Keyword("maxLength", _E),
    Keyword("pattern", _E, "no look-around, which is checked beside an enforced format; no back-references"),
    Keyword("format", _E, f"{_FORMATS}; others are refused, unless a pattern says what they mean"),
    Keyword("minimum", _E, "up to 1e17, for integers to 9.2e18; beside bounds, decimals end after nine digits"),
    Keyword("maximum", _E, "likewise; greater ones are narrowed to that"),
    Keyword("exclusiveMinimum", _E),
    Keyword("exclusiveMaximum", _E),
    Keyword("multipleOf", _E),
    Keyword("allOf", _E, "intersections that can't be worked out are refused"),
    Keyword("anyOf", _E),
    Keyword("oneOf", _E, "checked where the branches don't exclude each other by their form"),
    Keyword("$ref", _E, "within the schema, recursion included; nothing is ever fetched"),
    Keyword("$defs", _E),
    Keyword("definitions", _E, "the older name of $defs"),
    Keyword("$anchor", _E),
    Keyword("nullable", _E, "of OpenAPI 3.0: null is allowed too"),
    Keyword("not", _R, "except for {} and true, which allow nothing"),
    Keyword("if", _R),
    Keyword("then", _R),
    Keyword("else", _R),
    Keyword("contains", _R),
    Keyword("minContains", _R),
    Keyword("maxContains", _R),
    Keyword("dependencies", _R, "write dependentRequired or dependentSchemas"),
    Keyword("$dynamicRef", _R),
    Keyword("$dynamicAnchor", _R),
    Keyword("$recursiveRef", _R),
    Keyword("$recursiveAnchor", _R),
    Keyword("$vocabulary", _R),
    Keyword("$id", _A, "at the top only; refused below"),
    *(
        Keyword(name, _A)
        for name in (
            "$schema", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
            "contentEncoding", "contentMediaType", "contentSchema", "example", "discriminator", "externalDocs", "xml",
            "enumNames", "enumDescriptions", "markdownDescription", "propertyOrdering",
        )
    ),
)  # fmt: skip

KEYWORDS: dict[str, Keyword] = {keyword.name: keyword for keyword in _TABLE}
"""Keywords beginning with "x-" are annotations; any other that is not here is refused."""


def annotates(name: str) -> bool:
    """Whether a keyword says nothing about validity."""
    keyword = KEYWORDS.get(name)
    return name.startswith("x-") or (keyword is not None and keyword.handling is Handling.ANNOTATION)


def rows() -> list[tuple[str, str, str]]:
    """The table for the documentation: keyword, handling, note."""
    unlisted = ("any other", _R.value, "names beginning with x- are annotations")
    return [(k.name, k.handling.value, k.note) for k in _TABLE] + [unlisted]
