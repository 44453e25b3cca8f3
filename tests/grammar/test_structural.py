"""Structural tags in both shapes."""

from __future__ import annotations

import json

import pytest

from chatwright.core.errors import InvalidGrammar, InvalidJsonSchema
from chatwright.grammar.build import build
from chatwright.grammar.markup import Job

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
LEGACY = {
    "structures": [
        {"begin": "<fn=weather>", "schema": CITY, "end": "</fn>"},
        {"begin": "<fn=time>", "schema": {"type": "null"}, "end": "</fn>"},
    ],
    "triggers": ["<fn="],
}


def new(kind, **members):
    return {"type": "structural_tag", "format": {"type": kind, **members}}


def const(value):
    return {"type": "const_string", "value": value}


def around(content):
    return new("tag", begin="<r>", content=content, end="</r>")


TAG = {"type": "tag", "begin": "<a>", "content": {"type": "regex", "pattern": "[0-9]+"}, "end": "</a>"}
TOKEN = {"type": "token", "token": "<|im_start|>"}
OTHER = {"type": "tag", "begin": "<b>", "content": {"type": "any_text"}, "end": ["</b>", "<end>"]}
CASES = [
    (
        LEGACY,
        ["", "free", 'x <fn=weather>{"city": "Oslo"}</fn> y', "<fn=time>null</fn><fn=time>null</fn>"],
        ["<fn=other>", "<fn=weather>{}</fn>", "<fn=time>null"],
    ),
    (new("const_string", value="ok"), ["ok"], ["no"]),
    (new("json_schema", json_schema=CITY), ['{"city": "x"}'], ["{}"]),
    (new("grammar", grammar='root ::= "a" | "b"'), ["a", "b"], ["c"]),
    (new("regex", pattern="^[0-9]{2}/x$"), ["12/x"], ["1/x"]),
    (new("any_text"), ["", "anything\nat all"], []),
    (new("any_text", excludes=["bad"]), ["good"], ["a bad one"]),
    (
        new("sequence", elements=[const("a"), {"type": "any_text"}, const("!"), const("z")]),
        ["a!z", "axyz!z"],
        ["a!", "ax!y!z"],
    ),
    (new("or", elements=[const("a"), const("b")]), ["a", "b"], ["ab"]),
    ({"type": "structural_tag", "format": TAG}, ["<a>12</a>"], ["<a></a>", "<a>x</a>"]),
    ({"type": "structural_tag", "format": OTHER}, ["<b>x</b>", "<b><end>"], ["<b>x"]),
    (
        new("triggered_tags", triggers=["<"], tags=[TAG, OTHER]),
        ["", "x<a>1</a>y", "<b>t</b>"],
        ["<c>", "<a>"],
    ),
    (
        new("triggered_tags", triggers=["<a"], tags=[TAG], at_least_one=True),
        ["<a>1</a>", "<a>1</a>x", "<a>1</a>x<a>2</a>"],
        ["", "x", "x<a>1</a>"],
    ),
    (
        new("triggered_tags", triggers=["<a"], tags=[TAG], at_least_one=True, stop_after_first=True),
        ["<a>1</a>"],
        ["", "x<a>1</a>", "<a>1</a>x"],
    ),
    (
        new("triggered_tags", triggers=["<a"], tags=[TAG], stop_after_first=True),
        ["x", "x<a>1</a>"],
        ["<a>1</a>x", "<a>1</a><a>1</a>"],
    ),
    (
        new("tags_with_separator", tags=[TAG], separator=", "),
        ["", "<a>1</a>, <a>2</a>"],
        ["<a>1</a><a>2</a>"],
    ),
    (
        new("tags_with_separator", tags=[TAG], separator=",", at_least_one=True, stop_after_first=True),
        ["<a>1</a>"],
        [""],
    ),
    (new("optional", content=const("a")), ["", "a"], ["aa"]),
    (new("plus", content=const("a")), ["a", "aaa"], [""]),
    (new("star", content=const("a")), ["", "aaa"], ["b"]),
    (new("repeat", min=2, max=3, content=const("a")), ["aa", "aaa"], ["a", "aaaa"]),
    (new("repeat", min=2, max=-1, content=const("a")), ["aa", "aaaaa"], ["a"]),
    (new("any_text", max_chars=3), ["", "é🙂!"], ["abcd"]),
    (around(new("any_text", max_chars=3)["format"]), ["<r></r>", "<r>abc</r>"], ["<r>abcd</r>", "<r>a</r>b"]),
    (
        around({"type": "triggered_tags", "triggers": ["<a>"], "tags": [TAG]}),
        ["<r></r>", "<r>x</r>", "<r>x<a>1</a>y<a>2</a></r>"],
        ["<r>x", "<r><a></r>", "<r>x</r>y"],
    ),
    (
        around({"type": "or", "elements": [const("a"), {"type": "any_text", "excludes": ["no"]}]}),
        ["<r>a</r>", "<r>b</r>"],
        ["<r>no</r>", "<r>b</r>c"],
    ),
    (
        around({"type": "sequence", "elements": [const("a"), {"type": "any_text"}, const("!")]}),
        ["<r>ab!</r>"],
        ["<r>ab</r>", "<r>ab!"],
    ),
    (
        new(
            "dispatch",
            rules=[["#", {"type": "regex", "pattern": "[0-9]"}], ["@", const("me")]],
            excludes=["bad"],
        ),
        ["", "a #1 b @me c"],
        ["#x", "@you", "bad"],
    ),
    (new("dispatch", rules=[["#", const("1")]], loop=False), ["a", "a#1"], ["a#1b", "#2"]),
    (new("json_schema", json_schema=CITY, style="json", any_order=True), ['{"city": "x"}'], ["{}"]),
    (
        new("json_schema", json_schema=CITY, style="glm_xml"),
        ["<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n"],
        ["<arg_key>town</arg_key>\n<arg_value>Oslo</arg_value>\n"],
    ),
    (new("token", token="<|im_start|>"), ["<|im_start|>"], ["x"]),
    (new("token", token=1), ["<|im_start|>"], ["<|im_end|>", "1"]),
    (new("any_tokens", exclude_tokens=["<|im_start|>"]), ["", "any text"], ["<|im_start|>"]),
    (
        new("token_triggered_tags", trigger_tokens=[1], tags=[{**TAG, "begin": TOKEN, "end": TOKEN}]),
        ["x", "x<|im_start|>12<|im_start|>y"],
        ["<|im_start|>x<|im_start|>"],
    ),
    (
        new("token_dispatch", rules=[["<|im_start|>", const("a")]]),
        ["x", "x<|im_start|>a"],
        ["<|im_start|>b"],
    ),
    (
        {"structures": [{"begin": "<n>", "schema": '{"type": "null"}', "end": "</n>"}], "triggers": ["<n>"]},
        ["a <n>null</n>"],
        ["<n>1</n>"],
    ),
    (
        new("qwen_xml_parameter", json_schema=CITY),
        ["<parameter=city>\nOslo\n</parameter>\n"],
        ["<parameter=town>\nOslo\n</parameter>\n"],
    ),
]
WRONG = [
    ("{", "$"),
    ("[]", "object"),
    ({"structures": []}, "$.triggers"),
    ({"structures": [{"begin": "a"}], "triggers": ["a"]}, "$.structures[0]"),
    ({"structures": [{"begin": "b", "schema": {}, "end": ""}], "triggers": ["a"]}, "triggers"),
    (new("tag", begin="<a>"), "$.format.content"),
    (new("unknown"), "type must be one of"),
    (new("sequence", elements=[{"type": "any_text"}, TAG]), "must come last"),
    (new("or", elements=[]), "elements"),
    (new("triggered_tags", triggers=["x"], tags=[TAG]), "begin must start"),
    (new("triggered_tags", triggers=["<"], tags=[TAG], at_least_one=1), "at_least_one"),
    (new("json_schema", json_schema={"type": "array", "uniqueItems": True}), "uniqueItems"),
    (new("json_schema", json_schema=CITY, style="deepseek_xml"), "$.format.style"),
    (new("json_schema", json_schema=True, style="qwen_xml"), "$.format.json_schema"),
    (new("const_string", value="a", wild=1), "$.format.wild"),
    (new("any_text", max_tokens=3), "$.format.max_tokens"),
    (new("any_text", max_chars=-1), "$.format.max_chars"),
    (new("repeat", min=3, max=2, content=const("a")), "from min to max"),
    (new("repeat", min=True, max=2, content=const("a")), "$.format.min"),
    (new("star", content={"type": "any_text"}), "can't be repeated"),
    (
        new("plus", content={"type": "sequence", "elements": [const("a"), {"type": "any_text"}]}),
        "can't be repeated",
    ),
    (new("token", token="word"), "special tokens"),
    (new("exclude_token", exclude_tokens=[1]), "type must be one of"),
    (new("triggered_tags", triggers=["<a", "<z"], tags=[TAG]), "no tag begins with the trigger"),
    (new("dispatch", rules=[["#"]]), "$.format.rules[0]"),
    (new("dispatch", rules=[]), "rules must not be empty"),
    ({**LEGACY, "wild": 1}, "$.wild"),
]


def grammar(vocabulary, tag):
    source = tag if isinstance(tag, str) else json.dumps(tag)
    return build(Job("structural_tag", source), vocabulary.special, vocabulary.eos_token_ids).source


@pytest.mark.parametrize(("tag", "good", "bad"), CASES, ids=lambda value: json.dumps(value)[:50])
def test_tags_allow_what_they_describe(vocabulary, accepts, tag, good, bad):
    source = grammar(vocabulary, tag)
    assert [text for text in good if not accepts(source, text)] == []
    assert [text for text in bad if accepts(source, text)] == []


@pytest.mark.parametrize(("tag", "reason"), WRONG, ids=lambda value: json.dumps(value)[:50])
def test_wrong_tags_are_refused_by_path(vocabulary, tag, reason):
    with pytest.raises(InvalidGrammar) as caught:
        grammar(vocabulary, tag)
    assert reason in caught.value.message


def test_a_schema_inside_a_tag_is_judged_like_any_other(vocabulary):
    with pytest.raises(InvalidJsonSchema, match=r"\$\.if"):
        grammar(vocabulary, new("json_schema", json_schema={"if": {}}))


def test_formats_do_not_nest_without_end(vocabulary):
    node = const("a")
    for _ in range(40):
        node = {"type": "or", "elements": [node]}
    with pytest.raises(InvalidGrammar, match="nest deeper"):
        grammar(vocabulary, {"type": "structural_tag", "format": node})
