"""How a model family marks up its answers, as far as a grammar needs to know. Plain data."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Thinking(msgspec.Struct, frozen=True):
    """Literals around thinking."""

    start: str
    end: str


class Parameters(msgspec.Struct, frozen=True):
    """Each argument in its own tags. With `padded`, newlines stand between a tag and its value."""

    key_open: str
    key_close: str
    value_open: str
    value_close: str
    padded: bool = False


class Calls(msgspec.Struct, frozen=True):
    """section_begin call (separator call)* section_end; a call is begin, arguments, end, with {name} and {index} in them.

    From any of `triggers` on in the text, nothing but a call may follow. A `bare` family's parser takes JSON or a Python list
    at the answer's start for a call even without one.
    """

    begin: str
    end: str
    arguments: Literal["json", "parameters", "keywords"] = "json"
    separator: str = ""
    section_begin: str = ""
    section_end: str = ""
    triggers: tuple[str, ...] = ()
    bare: bool = False
    parameters: Parameters | None = None


class Channels(msgspec.Struct, frozen=True):
    """Messages with headers (OpenAI's Harmony)."""

    start: str
    channel: str
    message: str
    end: str
    reasoning: str
    role: str = "assistant"
    final: str = "final"
    preamble: str = "commentary"


class Markup(msgspec.Struct, frozen=True):
    """One family. What is None it doesn't have."""

    calls: Calls | None = None
    thinking: Thinking | None = None
    channels: Channels | None = None


class ToolSpec(msgspec.Struct, frozen=True):
    """A function; `parameters` None means no properties. `param` is its schema's path in the request."""

    name: str
    parameters: dict[str, Any] | None
    strict: bool
    param: str


class Job(msgspec.Struct, frozen=True):
    """What an answer must obey.

    `tools` are those that may be called: all under auto and required, the one under named, none under none; `uncallable` are
    the others, whose schemas are judged all the same. `format_source` is as in core's ResponseFormat. `in_thinking`: the
    prompt ends inside a think block. `limits_thinking`: even free text needs a grammar that knows where thinking ends.
    """

    format: Literal["text", "json_object", "json_schema", "grammar", "structural_tag"] = "text"
    format_source: str = ""
    tools: tuple[ToolSpec, ...] = ()
    uncallable: tuple[ToolSpec, ...] = ()
    must_call: bool = False
    single_call: bool = False
    markup: Markup = Markup()
    in_thinking: bool = False
    limits_thinking: bool = False
