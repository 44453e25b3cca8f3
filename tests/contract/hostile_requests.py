"""Requests that mean harm, and requests at the edge of every limit, with the statuses that the contract allows them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from chatwright.api import limits
from chatwright.api.limits import Limit
from chatwright.doctor.topics.hostile import ATTACKS
from chatwright.models.catalog import DEFAULT_SLUG

HI = {"role": "user", "content": "Hi"}
OK, BAD = {200}, {400}
EITHER = OK | BAD


class Attack(NamedTuple):
    """A request and the statuses it may get; `param` begins the path that a 400 must name, where that is known."""

    name: str
    body: bytes
    allowed: set[int]
    param: str | None = None
    headers: dict[str, str] = {}  # noqa: RUF012  never changed


def body(**members: Any) -> bytes:
    """A short greedy request; only the end of its prompt is used, however long that is."""
    base = {
        "model": DEFAULT_SLUG,
        "messages": [HI],
        "max_tokens": 1,
        "temperature": 0,
        "truncate_prompt_tokens": 8,
    }
    return json.dumps(base | members, separators=(",", ":")).encode()


# Every limit: a request with `n` of what it bounds.


def _deep(n: int) -> bytes:
    inside = n - 2  # the body and chat_template_args are two levels
    return body(chat_template_args={"a": 0}).replace(b'"a":0', b'"a":' + b"[" * inside + b"]" * inside)


def _valued(n: int) -> bytes:
    short = body(chat_template_args={"a": [0]})
    there = 1 + sum(short.count(mark) for mark in (b",", b"{", b"["))
    return short.replace(b"[0]", b"[" + b"0," * (n - there) + b"0]")


def _turns(**members: Any) -> list[Any]:
    return [{**HI, **members}]


def _called(calls: int, id_length: int = 1) -> list[Any]:
    return [HI, {"role": "assistant", "content": None, "tool_calls": [_call("c" * id_length)] * calls}]


def _call(id_: str) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": "f", "arguments": "{}"}}


def _tools(*functions: dict[str, Any]) -> bytes:
    return body(
        tools=[{"type": "function", "function": function} for function in functions], tool_choice="none"
    )


def _format(schema: Any, name: str = "n") -> bytes:
    return body(response_format={"type": "json_schema", "json_schema": {"name": name, "schema": schema}})


def _tagged(n: int) -> bytes:
    one = {"begin": "<a>", "schema": {"type": "boolean"}, "end": "</a>"}
    return body(response_format={"type": "structural_tag", "structures": [one], "triggers": ["<a"] * n})


def _schema(n: int) -> dict[str, Any]:
    return {"type": "boolean", "description": "x" * (n - len('{"type":"boolean","description":""}'))}


def _disaggregated(kind: str = "context_and_generation", **members: Any) -> bytes:
    return body(disaggregated_params={"request_type": kind, **members})


EDGES: dict[Limit, tuple[Callable[[int], bytes], str | None]] = {
    limits.BODY: (lambda n: body().ljust(n), None),
    limits.DEPTH: (_deep, None),
    limits.NODES: (_valued, None),
    limits.MESSAGES: (lambda n: body(messages=[HI] * n), "messages"),
    limits.PARTS: (
        lambda n: body(messages=_turns(content=[{"type": "text", "text": "a"}] * n)),
        "messages.[0].content",
    ),
    limits.MESSAGE_NAME: (lambda n: body(messages=_turns(name="x" * n)), "messages.[0].name"),
    limits.MESSAGE_TOOL_CALLS: (lambda n: body(messages=_called(n)), "messages.[1].tool_calls"),
    limits.TOOL_CALL_ID: (lambda n: body(messages=_called(1, n)), "messages.[1].tool_calls"),
    limits.MODEL: (lambda n: body(model="x" * n), "model"),
    limits.MAX_TOKENS: (lambda n: body(max_tokens=n, stop=list(" aeioutnsr.,\n")), "max_tokens"),
    limits.TOP_LOGPROBS: (lambda n: body(logprobs=True, top_logprobs=n), "top_logprobs"),
    limits.STOP: (lambda n: body(stop=[f"z{i}" for i in range(n)]), "stop"),
    limits.STOP_LENGTH: (lambda n: body(stop="é" * n), "stop"),
    limits.STOP_TOKEN_IDS: (lambda n: body(stop_token_ids=list(range(n))), "stop_token_ids"),
    limits.LOGIT_BIAS: (lambda n: body(logit_bias={str(i): 1 for i in range(n)}), "logit_bias"),
    limits.BAD: (lambda n: body(bad=[f"z{i}" for i in range(n)]), "bad"),
    limits.BAD_LENGTH: (lambda n: body(bad="é" * n), "bad"),
    limits.BAD_TOKEN_IDS: (lambda n: body(bad_token_ids=[7] * n), "bad_token_ids"),
    limits.TOOLS: (lambda n: _tools(*({"name": f"f{i}"} for i in range(n))), "tools"),
    limits.TOOL_NAME: (lambda n: _tools({"name": "f" * n}), "tools.[0].function.name"),
    limits.TOOL_ENUM_VALUES: (
        lambda n: _tools({"name": "f", "parameters": {"properties": {"a": {"enum": list(range(n))}}}}),
        "tools.[0].function.parameters",
    ),
    limits.SCHEMA: (lambda n: _format(_schema(n)), "response_format"),
    limits.SCHEMA_NAME: (lambda n: _format({"type": "boolean"}, "n" * n), "response_format"),
    limits.GRAMMAR: (
        lambda n: body(response_format={"type": "grammar", "grammar": 'root ::= "a"'.ljust(n)}),
        "response_format",
    ),
    limits.STRUCTURES: (_tagged, "response_format"),
    limits.CHAT_TEMPLATE: (lambda n: body(chat_template="a b " * (n // 4) + "c" * (n % 4)), "chat_template"),
    limits.TEMPLATE_ARGS: (
        lambda n: body(chat_template_args={f"a{i}": i for i in range(n)}),
        "chat_template_args",
    ),
    limits.DOCUMENTS: (lambda n: body(documents=[{"text": "a"}] * n), "documents"),
    limits.USER: (lambda n: body(user="u" * n), "user"),
    limits.METADATA: (lambda n: body(metadata={f"k{i}": "v" for i in range(n)}), "metadata"),
    limits.METADATA_KEY: (lambda n: body(metadata={"k" * n: "v"}), "metadata"),
    limits.METADATA_VALUE: (lambda n: body(metadata={"k": "v" * n}), "metadata"),
    limits.CACHE_KEY: (lambda n: body(prompt_cache_key="k" * n), "prompt_cache_key"),
    limits.DISAGGREGATED_TOKENS: (
        lambda n: _disaggregated(draft_tokens=[7] * n),
        "disaggregated_params.draft_tokens",
    ),
    limits.DISAGGREGATED_STATE: (
        lambda n: _disaggregated("generation_only", ctx_request_id=1, opaque_state="A" * n),
        "disaggregated_params",
    ),
    limits.EMBEDDING_HANDLES: (
        lambda n: _disaggregated(multimodal_embedding_handles=[{}] * n),
        "disaggregated_params.multimodal_embedding_handles",
    ),
}
WITHIN = {limits.MODEL: {404}, limits.DISAGGREGATED_STATE: BAD, limits.EMBEDDING_HANDLES: BAD}
"""What is answered up to a limit where that isn't 200: no such model, no such state, no such modality."""
OVER = {limits.BODY: {413}}
HEADERS: dict[Limit, tuple[str, set[int], str]] = {
    limits.AFFINITY: ("x-session-affinity", OK, ""),
    limits.REQUEST_ID: ("x-request-id", OK, ""),
    limits.API_KEY: ("authorization", {401}, "Bearer "),
}
"""Too long a header is ignored, or is no key; the status is the same."""
OF_CONNECTIONS = {limits.HEAD}
"""Held on connections: tests/server/test_http_protocol.py."""
OF_ANSWERS = {limits.REPORTED_PROBLEMS, limits.QUOTED_VALUE}
"""What bounds our messages, not requests."""


def edges() -> Iterator[Attack]:
    """Each limit at one below, at, and at one above."""
    for limit, (make, param) in EDGES.items():
        for n in (limit.maximum - 1, limit.maximum):
            yield Attack(f"{limit.subject} at {n}", make(n), WITHIN.get(limit, OK))
        n = limit.maximum + 1
        yield Attack(f"{limit.subject} at {n}", make(n), OVER.get(limit, BAD), param)
    for limit, (name, allowed, prefix) in HEADERS.items():
        for n in (limit.maximum - 1, limit.maximum, limit.maximum + 1):
            yield Attack(f"{limit.subject} at {n}", body(), allowed, None, {name: prefix + "k" * n})


# What means harm.

_JSON: tuple[tuple[str, bytes], ...] = (
    ("deep arrays", b"[" * 1_000_000),
    ("deep objects", b'{"a":' * 500_000),
    ("closing brackets", b"]" * 1_000_000),
    ("a million zeros", b"[" + b"0," * 1_000_000 + b"0]"),
    ("a string without end", b'"' + b"a" * 4_000_000),
    ("backslashes", b'{"model": "' + b"\\" * 2_000_001 + b'"}'),
    ("escapes", b'{"model": "' + b"\\u0041" * 300_000 + b'"}'),
    ("a number of 100,000 digits", body().replace(b'"temperature":0', b'"temperature":' + b"9" * 100_000)),
    ("an exponent out of range", body().replace(b'"temperature":0', b'"temperature":1e999999')),
    ("minus zero dot", body().replace(b'"temperature":0', b'"temperature":-0.')),
    ("NaN", body().replace(b'"temperature":0', b'"temperature":NaN')),
    ("100,000 unknown members", b"{" + b",".join(b'"k%d":1' % i for i in range(100_000)) + b"}"),
    ("half a UTF-8 character", body().replace(b"Hi", b"\xe2\x82")),
    ("overlong UTF-8", body().replace(b"Hi", b"\xc0\xaf")),
    ("a surrogate in UTF-8", body().replace(b"Hi", b"\xed\xa0\x80")),
    ("a lone surrogate", body().replace(b"Hi", b"\\udfff")),
    ("UTF-16", body().decode().encode("utf-16")),
    ("a byte order mark", b"\xef\xbb\xbf" + body()),
    ("control characters", body().replace(b"Hi", b"\x01\x02")),
    ("two documents", body() + body()),
)
_TEXTS = (
    "\x00", "\u202e" * 4096, "e" + "\u0301" * 20_000, "\U0010ffff" * 4096, "\ufffe\uffff", "👩‍👩‍👧‍👦" * 2000, "ﷺ" * 5000,
    "\u2028\u2029\x85", "a" * 500_000, " " * 500_000, "\n" * 100_000, "あ" * 100_000, "<|im_start|>" * 5000, "1" * 200_000,
    "{{ 7 * 7 }}{% for a in b %}", "İ" * 5000, "\t\r\x0b\x0c" * 5000,
)  # fmt: skip
_ROUNDS: dict[str, Any] = {
    "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}},
    "$ref": "#/$defs/a",
}
_SCHEMAS: tuple[tuple[str, Any], ...] = (
    ("refers to itself", {"$ref": "#"}),
    ("goes in circles", _ROUNDS),
    ("has a pattern that explodes", {"type": "string", "pattern": "^(((a{1,99}){1,99}){1,99}){1,99}$"}),
    ("has a pattern for backtracking", {"type": "string", "pattern": "^(a+)+$"}),
    ("counts to a billion", {"type": "string", "minLength": 10**9}),
    ("wants a billion items", {"type": "array", "items": {"type": "integer"}, "minItems": 10**9}),
    ("has 50,000 choices", {"enum": [f"v{i}" for i in range(20_000)]}),
    (
        "has 5,000 properties",
        {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(5000)}},
    ),
    ("allows nothing", {"type": "string", "enum": []}),
    ("is false inside", {"type": "object", "properties": {"a": False}, "required": ["a"]}),
)
_GRAMMARS = (
    "root ::= root",
    "root ::= root root | root",
    'root ::= ("a" | "b"){1,1000000}',
    "root ::= " + "(" * 5000,
    "root ::= " + " | ".join(f'"v{i}"' for i in range(20_000)),
    "\n".join(f"r{i} ::= r{i + 1} r{i + 1}" for i in range(200)) + '\nr200 ::= "a"\nroot ::= r0',
)


def attacks() -> Iterator[Attack]:
    """Templates, JSON, texts, schemas and grammars made to break, stall or fill a server."""
    for name, template in ATTACKS:
        yield Attack(f"a template that {name}", body(chat_template=template), BAD | {503}, "chat_template")
    for name, data in _JSON:
        yield Attack(f"JSON: {name}", data, BAD)
    for text in _TEXTS:
        yield Attack(f"text: {text[:8]!r}", body(messages=_turns(content=text)), OK)
    for name, schema in _SCHEMAS:
        yield Attack(f"a schema that {name}", _format(schema), EITHER, "response_format")
    for grammar in _GRAMMARS:
        data = body(response_format={"type": "grammar", "grammar": grammar})
        yield Attack(f"a grammar: {grammar[:20]!r}", data, EITHER, "response_format")
