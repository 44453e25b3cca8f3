"""`tools`, `tool_choice` and `response_format` on the wire (contract 7). Schemas are compiled elsewhere."""

from __future__ import annotations

from typing import Annotated, Any, Self

import msgspec
from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic.json_schema import JsonSchemaValue

from chatwright.api import limits
from chatwright.api.openai.fields import (
    MISSING,
    WRONG_TYPE,
    WRONG_VALUE,
    Flag,
    Object,
    OneOf,
    Plain,
    Text,
    fault,
)
from chatwright.api.openai.objects import (
    Closed,
    Items,
    require_one_of,
    require_type,
    tag_of_kind,
    tag_of_type,
)

INVALID_SCHEMA = "invalid_json_schema"


class JsonSchema(Plain):
    """A JSON Schema object of bounded size and, where `enum_values` is given, of a bounded number of enum values."""

    def __init__(self, enum_values: int | None = None) -> None:
        self.enum_values = enum_values

    def check(self, value: Any) -> dict[str, Any]:
        """The schema, unchanged. Raises a fault."""
        if type(value) is not dict:
            raise fault(WRONG_TYPE, "a JSON Schema object")
        if len(msgspec.json.encode(value)) > limits.SCHEMA.maximum:
            raise fault(INVALID_SCHEMA, f"a JSON Schema of at most {limits.SCHEMA.maximum} bytes")
        if self.enum_values is not None and _enum_values(value) > self.enum_values:
            raise fault(INVALID_SCHEMA, f"a JSON Schema of at most {self.enum_values} enum values")
        return value

    def schema(self) -> JsonSchemaValue:
        """JSON Schema."""
        return {"type": "object"}


def _enum_values(schema: Any) -> int:
    """All values of all lists under the name "enum". Depth is bounded by the body's."""
    if isinstance(schema, list):
        return sum(map(_enum_values, schema))
    if not isinstance(schema, dict):
        return 0
    here = schema.get("enum")
    return (len(here) if isinstance(here, list) else 0) + sum(map(_enum_values, schema.values()))


class FunctionDefinition(Closed):
    """What a model may call."""

    name: Annotated[str, Text(limits.TOOL_NAME.maximum, shortest=1, pattern=r"[A-Za-z0-9_.:-]+")]
    description: Annotated[str | None, Text()] = None
    parameters: Annotated[dict[str, Any] | None, JsonSchema(limits.TOOL_ENUM_VALUES.maximum)] = None
    strict: Annotated[bool, Flag()] = False


class WireTool(Closed):
    """A function tool."""

    type: Annotated[str, OneOf(("function",))] = "function"
    function: FunctionDefinition


class FunctionName(Closed):
    """A function by its name."""

    name: Annotated[str, Text(limits.TOOL_NAME.maximum, shortest=1)]


class NamedToolChoice(Closed):
    """Exactly this function."""

    type: Annotated[str, OneOf(("function",))] = "function"
    function: FunctionName


WireToolChoice = Annotated[
    Annotated[str, OneOf(("none", "auto", "required")), Tag("<str>")]
    | Annotated[NamedToolChoice, Tag("<dict>")],
    Discriminator(tag_of_kind),
    BeforeValidator(
        require_one_of(str, dict, expected='"none", "auto", "required" or an object that names a function')
    ),
]


class TextFormat(Closed):
    """No constraint."""

    type: Annotated[str, OneOf(("text",))]


class JsonObjectFormat(Closed):
    """One JSON object."""

    type: Annotated[str, OneOf(("json_object",))]


class NamedSchema(Closed):
    """A schema the answer validates against, whatever `strict` says (contract Q7)."""

    name: Annotated[str, Text(limits.SCHEMA_NAME.maximum, shortest=1)]
    schema_: Annotated[dict[str, Any], JsonSchema()] = Field(alias="schema")
    description: Annotated[str | None, Text()] = None
    strict: Annotated[bool, Flag()] = True


class JsonSchemaFormat(Closed):
    """An answer in the form of a schema."""

    type: Annotated[str, OneOf(("json_schema",))]
    json_schema: NamedSchema


class GrammarFormat(Closed):
    """An answer in the form of an EBNF grammar."""

    type: Annotated[str, OneOf(("grammar",))]
    grammar: Annotated[str, Text(limits.GRAMMAR.maximum, shortest=1)]


class TagText(Plain):
    """A structural tag as JSON text, or as the object itself. Yields the text."""

    def check(self, value: Any) -> str:
        """As text. Raises a fault."""
        if type(value) is dict:
            value = msgspec.json.encode(value).decode()
        if type(value) is not str:
            raise fault(WRONG_TYPE, "a structural tag, as JSON text or as an object")
        return Text(limits.GRAMMAR.maximum, shortest=1).check(value)

    def schema(self) -> JsonSchemaValue:
        """JSON Schema."""
        text = Text(limits.GRAMMAR.maximum, shortest=1).schema()
        return {"anyOf": [text, {"type": "object"}]}


class StructuralTagFormat(Closed):
    """Free text with constrained stretches. The tag is `structural_tag`, or its own members stand here, as xgrammar has it:
    `format`, or the older `structures` and `triggers`.
    """

    type: Annotated[str, OneOf(("structural_tag",))]
    structural_tag: Annotated[str | None, TagText()] = None
    format: Annotated[dict[str, Any] | None, Object()] = None
    structures: Annotated[list[Any], Items(limits.STRUCTURES.maximum)] = Field(default=[])
    triggers: Annotated[list[Any], Items(limits.STRUCTURES.maximum)] = Field(default=[])

    @model_validator(mode="after")
    def _one_tag(self) -> Self:
        given = self.model_fields_set
        ways = [
            name
            for name, members in (
                ("structural_tag", {"structural_tag"}),
                ("format", {"format"}),
                ("structures", {"structures", "triggers"}),
            )
            if members & given
        ]
        if not ways:
            raise fault(MISSING, "is required", member="structural_tag")
        if len(ways) > 1:
            raise fault(WRONG_VALUE, f"one structural tag; {' and '.join(ways)} are two", quoted=ways)
        TagText().check(self.source)
        return self

    @property
    def source(self) -> str:
        """The tag as JSON text, however it was given."""
        if self.structural_tag is not None:
            return self.structural_tag
        return msgspec.json.encode(self.model_dump(exclude_unset=True)).decode()


WireResponseFormat = Annotated[
    Annotated[TextFormat, Tag("<text>")]
    | Annotated[JsonObjectFormat, Tag("<json_object>")]
    | Annotated[JsonSchemaFormat, Tag("<json_schema>")]
    | Annotated[GrammarFormat, Tag("<grammar>")]
    | Annotated[StructuralTagFormat, Tag("<structural_tag>")],
    Discriminator(tag_of_type),
    BeforeValidator(require_type("text", "json_object", "json_schema", "grammar", "structural_tag")),
]
