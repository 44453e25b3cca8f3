"""Grammars judged in a process that can be killed: verdicts, hostile ones, the memory of both."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio

from chatwright.core.errors import (
    InvalidGrammar,
    InvalidJsonSchema,
    InvalidRequest,
    Overloaded,
    SchemaNotSatisfied,
)
from chatwright.grammar.compiler import GrammarCompiler
from chatwright.grammar.markup import Calls, Job, Markup, ToolSpec
from chatwright.workers.pool import PoolLimits

PATIENT = PoolLimits(total_seconds=60, run_seconds=30, memory_bytes=2 * 2**30, workers=1)
MARKUP = Markup(Calls('<c>{"name": "{name}", "arguments": ', "}</c>", triggers=("<c>",)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def compiler(default_model):
    made = GrammarCompiler(default_model.tokenizer, default_model.manifest.vocab_size, [2], PATIENT)
    await made.start()
    yield made
    await made.close()


pytestmark = pytest.mark.asyncio(loop_scope="module")


def schema(value):
    return Job("json_schema", json.dumps(value))


def tool(parameters, *, strict=False):
    return Job(tools=(ToolSpec("f", parameters, strict, "tools.[0].function.parameters"),), markup=MARKUP)


def deep(levels, leaf, wrap):
    for _ in range(levels):
        leaf = wrap(leaf)
    return leaf


HOSTILE = {
    "recursion": schema(
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    ),
    "endless object": schema(
        {"$ref": "#", "type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}
    ),
    "depth": schema(deep(200, {}, lambda inner: {"items": inner})),
    "enum": schema({"enum": list(range(60_000))}),
    "regex": schema({"type": "string", "pattern": "(" * 900 + "a" + ")" * 900}),
    "look-around": schema({"type": "string", "pattern": "(?=a)b"}),
    "wide alternatives": schema(
        {"allOf": [{"anyOf": [{"required": [f"{i}{j}"]} for j in range(9)]} for i in range(9)]}
    ),
    "nothing allowed": schema({"allOf": [{"type": "string"}, {"type": "integer"}]}),
    "false": schema(False),
    "parentheses": Job("grammar", "root ::= " + "(" * 30_000 + '"a"' + ")" * 30_000),
    "lark parentheses": Job("grammar", "start: " + "(" * 30_000 + '"a"' + ")" * 30_000),
    "lark regex": Job("grammar", "start: /" + "(" * 30_000 + "a" + ")" * 30_000 + "/"),
    "optionals": Job("grammar", "start: " + " ".join('"a"?' for _ in range(20_000))),
    "no text": Job("grammar", "start: a\na: a"),
    "no grammar": Job("grammar", "hello"),
    "tag": Job("structural_tag", "[" * 100_000),
    "tool": tool({"type": "object", "properties": {"a": {"if": {}}}}, strict=True),
    "tool that is no object": tool({"type": "string"}),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_constraints_are_refused_with_a_reason(compiler, name):
    job = HOSTILE[name]
    with pytest.raises(InvalidRequest) as caught:
        await compiler.compile(job)
    kind = InvalidJsonSchema if job.format in ("json_schema", "text") else InvalidGrammar
    assert isinstance(caught.value, kind | InvalidGrammar)
    assert caught.value.param in ("response_format", "tools.[0].function.parameters")
    assert "Traceback" not in caught.value.message
    assert job.format != "json_schema" or "limits of its process" not in caught.value.message
    assert len(caught.value.message) < 800
    assert (await compiler.compile(schema({"type": "null"}))).grammar is not None


async def test_the_event_loop_stays_free_meanwhile(compiler):
    job = asyncio.ensure_future(compiler.compile(schema({"enum": [f"value {i}" for i in range(9000)]})))
    ticks = 0
    while not job.done():
        await asyncio.sleep(0)
        ticks += 1
    assert job.result().grammar is not None
    assert ticks > 100


async def test_verdicts_are_remembered_good_and_bad(compiler, monkeypatch):
    good, bad = schema({"type": "boolean"}), schema({"type": "bool"})
    first = await compiler.compile(good)
    with pytest.raises(InvalidJsonSchema):
        await compiler.compile(bad)

    async def unreachable(*_):
        raise AssertionError

    monkeypatch.setattr(compiler, "attempt", unreachable)
    assert await compiler.compile(good) is first
    with pytest.raises(InvalidJsonSchema):
        await compiler.compile(bad)


async def test_memory_of_verdicts_is_bounded(compiler):
    for number in range(300):
        compiler._keep(str(number).encode(), InvalidGrammar("no"))
    assert len(compiler._cache) == 256
    assert compiler._recall(b"0") is None
    assert compiler._recall(b"299") is not None


async def test_nothing_asked_needs_no_worker(default_model):
    unstarted = GrammarCompiler(default_model.tokenizer, 49152, [2])
    assert (await unstarted.compile(Job())).grammar is None


async def test_a_tool_without_strict_takes_any_object_where_its_schema_cannot_be_enforced(compiler):
    overlapping = {"type": "object", "patternProperties": {"^a": {"type": "null"}, "b$": {"type": "string"}}}
    compiled = await compiler.compile(tool(overlapping))
    assert compiled.grammar is not None
    with pytest.raises(InvalidJsonSchema) as caught:
        await compiler.compile(tool(overlapping, strict=True))
    assert caught.value.param == "tools.[0].function.parameters"


async def test_what_is_checked_afterwards_comes_with_the_grammar(compiler):
    listed = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
    compiled = await compiler.compile(schema(listed))
    assert compiled.check == listed
    await compiler.validate(compiled.check, "[1, 2]")
    for text in ("[1, 1]", "[1", "NaN"):
        with pytest.raises(SchemaNotSatisfied):
            await compiler.validate(compiled.check, text)


async def test_what_strict_arguments_need_checked_comes_by_the_tools_name(compiler):
    listed = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    closed = {"additionalProperties": False, **listed}
    assert (await compiler.compile(tool(listed, strict=True))).tool_checks == {"f": closed}
    assert (await compiler.compile(tool(listed))).tool_checks == {}


async def test_a_job_is_judged_by_its_computing_and_that_verdict_is_not_kept(default_model):
    brief = PoolLimits(total_seconds=60, run_seconds=40, cpu_seconds=0.02, memory_bytes=2 * 2**30, workers=1)
    pool = GrammarCompiler(default_model.tokenizer, 49152, [2], brief)
    await pool.start()
    big = {"anyOf": [{"type": "integer", "minimum": i} for i in range(9000)]}
    strict = ToolSpec(
        "f", {"type": "object", "properties": {"a": big}}, True, "tools.[0].function.parameters"
    )
    for job, error, param in (
        (schema(big), InvalidJsonSchema, "response_format"),
        (
            Job("grammar", "start: " + " ".join('"a"?' for _ in range(20_000))),
            InvalidGrammar,
            "response_format",
        ),
        (Job(tools=(strict,), markup=MARKUP), InvalidJsonSchema, "tools"),
    ):
        with pytest.raises(error, match=r"0\.02 seconds of computing") as caught:
            await pool.compile(job)
        assert caught.value.param == param
    assert not pool._cache
    await pool.close()


async def test_a_job_that_a_busy_machine_starved_is_not_to_blame(default_model):
    limits = PoolLimits(total_seconds=60, run_seconds=0.01, cpu_seconds=30, memory_bytes=2 * 2**30, workers=1)
    pool = GrammarCompiler(default_model.tokenizer, 49152, [2], limits)
    await pool.start()
    with pytest.raises(Overloaded):
        await pool.compile(schema({"enum": [f"value {i}" for i in range(9000)]}))
    await pool.close()


async def test_a_check_that_never_ends_fails_closed(default_model):
    brief = PoolLimits(total_seconds=60, run_seconds=40, cpu_seconds=0.5, memory_bytes=2 * 2**30, workers=1)
    pool = GrammarCompiler(default_model.tokenizer, 49152, [2], brief)
    await pool.start()
    with pytest.raises(SchemaNotSatisfied):
        await pool.validate({"pattern": "^(a+)+$"}, json.dumps("a" * 60 + "!"))
    await pool.close()
