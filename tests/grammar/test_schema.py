"""Every keyword is enforced, checked or refused, and says where."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract import schemas

from chatwright.core.errors import InvalidJsonSchema
from chatwright.grammar.build import build
from chatwright.grammar.keywords import KEYWORDS, Handling, rows
from chatwright.grammar.markup import Job
from chatwright.grammar.matcher import GrammarError
from chatwright.grammar.schema import MAX_DEPTH, MAX_ENUM, MAX_NODES, prepare
from chatwright.grammar.validation import problem


def obj(**members):
    return {"type": "object", **members}


CASES = [
    # schema, texts it takes, texts it doesn't
    ({"type": "integer", "minimum": 3, "maximum": 12}, ["3", "12"], ["2", "13", '"a"']),
    ({"type": "integer", "format": "int32"}, ["2147483647"], ["2147483648"]),
    ({"type": "string", "minLength": 2, "maxLength": 3}, ['"ab"', '"é🙂"'], ['"a"', '"abcd"']),
    ({"type": "string", "pattern": "^[a-c]+$"}, ['"abc"'], ['"abd"', '""']),
    ({"enum": [1, "a", None, {"b": [1, 2]}]}, ["1", '"a"', "null", '{"b": [1, 2]}'], ["2", '{"b": []}']),
    ({"const": "x\n"}, [r'"x\n"'], ['"x"']),
    ({"type": ["string", "null"]}, ["null", '"a"'], ["1"]),
    ({"type": "string", "nullable": True}, ["null", '"a"'], ["1"]),
    (
        obj(
            properties={"a": {"type": "integer"}, "b": {"type": "string"}},
            required=["b"],
            additionalProperties=False,
        ),
        ['{"a": 1, "b": "x"}', '{"b": "x"}'],
        ['{"a": 1}', "{}", '{"b": "x", "c": 1}', '{"a":1,"b":"x"}', '{ "b": "x"}'],
    ),
    (obj(additionalProperties={"type": "integer"}), ['{"x": 1}'], ['{"x": "a"}']),
    (
        obj(patternProperties={"^n_": {"type": "integer"}}, additionalProperties=False),
        ['{"n_a": 1}'],
        ['{"a": 1}'],
    ),
    (obj(propertyNames={"enum": ["a/b", "c"]}), ['{"a/b": 1}'], ['{"x": 1}']),
    (obj(propertyNames={"maxLength": 2}), ['{"ab": 1}'], ['{"abc": 1}']),
    (obj(propertyNames=True), ['{"x": 1}'], []),
    (
        obj(properties={"a": {}, "b": {}}, dependentRequired={"a": ["b"]}),
        ['{"a": 1, "b": 2}', '{"b": 1}', "{}"],
        ['{"a": 1}'],
    ),
    (
        obj(dependentSchemas={"a": {"required": ["b"], "properties": {"b": {"type": "integer"}}}}),
        ['{"b": 1, "a": 2}', '{"c": "x"}'],
        ['{"a": 1}'],
    ),
    (obj(unevaluatedProperties=False, properties={"a": {}}), ['{"a": 1}'], ['{"b": 1}']),
    (
        {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
        ["[1]", "[1, 2]"],
        ["[]", "[1, 2, 3]"],
    ),
    ({"type": "array", "prefixItems": [{"type": "integer"}], "items": False}, ["[1]"], ["[1, 2]", '["a"]']),
    ({"type": "array", "items": [{"type": "integer"}], "additionalItems": False}, ["[1]"], ["[1, 2]"]),
    (
        {"allOf": [obj(properties={"a": {"type": "integer"}}), obj(required=["a"])]},
        ['{"a": 1}'],
        ["{}", '{"a": "x"}'],
    ),
    ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, ['"a"', "1"], ["null"]),
    (
        {
            "$ref": "#/$defs/n",
            "$defs": {"n": obj(properties={"next": {"$ref": "#/$defs/n"}}, additionalProperties=False)},
        },
        ['{"next": {"next": {}}}'],
        ['{"other": 1}'],
    ),
    (
        {"$id": "http://a/b", "$ref": "http://a/b#x", "$defs": {"q": {"$anchor": "x", "type": "null"}}},
        ["null"],
        ["1"],
    ),
    ({"$ref": "#/$defs/a~1b%25", "$defs": {"a/b%": {"type": "null"}}}, ["null"], ["1"]),
    (obj(properties={"never": {"not": {}}, "a": {}}), ['{"a": 1}'], ['{"never": 1}']),
    (
        {"type": "string", "format": "date"},
        ['"2024-02-29"', '"2000-02-29"', '"0001-01-31"', '"2023-04-30"'],
        ['"2024-13-01"', '"2023-02-29"', '"1900-02-29"', '"2023-04-31"', '"0000-01-01"', '"2024-2-29"'],
    ),
    (
        {"type": "string", "format": "time"},
        ['"23:59:59Z"', '"00:00:00.123456+01:00"'],
        ['"23:59:60Z"', '"24:00:00Z"', '"12:00:00"', '"12:00:00.1234567Z"'],
    ),
    (
        {"type": "string", "format": "date-time"},
        ['"2024-02-29T12:00:00Z"'],
        ['"2023-02-29T12:00:00Z"', '"2024-02-29 12:00:00Z"', '"2024-02-29T12:00:60Z"'],
    ),
    (
        {"type": "string", "format": "duration"},
        ['"P1Y2M3DT4H5M6S"', '"PT5M"', '"P3W"', '"P4D"'],
        ['"P"', '"PT"', '"P1W2D"', '"P1.5D"', '"P12345678D"', '"1D"'],
    ),
    (
        {"type": "string", "format": "email"},
        ['"a@b.cd"', '"first.last+tag@sub.example.com"'],
        ['"a@b"', '"a"', '"a..b@c.de"', '"a.@c.de"', '"a@-c.de"', '"a@ab--c.de"', '"@c.de"'],
    ),
    ({"type": "string", "format": "hostname"}, ['"a.b-c.d"'], [f'"{".".join(["a" * 60] * 5)}"']),
    ({"type": "string", "format": "date", "pattern": "^20"}, ['"2024-01-01"'], ['"1024-01-01"']),
    ({"type": "string", "format": "date", "maxLength": 99}, ['"2024-01-01"'], ['"2024-1-01"']),
    ({"type": "integer", "format": "int64"}, ["1852673427797059126"], ["9223372036854775808"]),
    ({"type": "integer"}, ["-12", "1852673427797059126"], ["1" + "0" * 19, "1e3", "1.0"]),
    ({"type": ["integer", "null"], "minimum": 5}, ["5", "null"], ["4", "1" + "0" * 19]),
    ({"type": "integer", "minimum": 2**53 + 1}, [str(2**53 + 2)], [str(2**53), str(2**53 + 1)]),
    ({"type": "integer", "maximum": 10**40, "minimum": -(10**40)}, ["7"], ["1" + "0" * 19]),
    ({"type": "number", "minimum": 0}, ["0.1", "123456789.123456789"], ["0.1234567891", "1e3", "-1"]),
    ({"type": "number", "minimum": 0, "maximum": 1e-8}, ["0.0000000012345"], ["1"]),
    ({"type": "number", "maximum": 1.7976931348623157e308}, ["-3.5"], ["1" + "0" * 18]),
    ({"type": "number"}, ["6.022e23"], ["x"]),
    ({"type": "integer", "multipleOf": 86400}, ["86400", "0"], ["86401"]),
    ({"type": "integer", "multipleOf": 3600, "minimum": 1}, ["7200"], ["0", "3601"]),
    ({"type": "number", "multipleOf": 0.25, "minimum": 0}, ["0.50", "7.25"], ["0.3", "0.30"]),
    ({"const": 10**22}, [str(10**22)], ["1e22"]),
    ({"type": "string", "format": "starts_with", "pattern": "^ab.*"}, ['"abc"'], ['"bc"']),
    (
        {"type": "string", "format": "duration", "pattern": r"^P(?=\d|T\d)(\d+D)?(T(?=\d)(\d+H)?)?$"},
        ['"P3D"', '"PT2H"'],
        ['"3D"', '"P"'],
    ),
]

REFUSED = [
    ({"if": {}}, "$.if"),
    ({"not": {"type": "null"}}, "$.not"),
    (obj(properties={"a": {"type": "array", "contains": {}}}), "$.properties.a.contains"),
    ({"minimun": 3}, "did you mean 'minimum'"),
    ({"type": "text"}, "$.type"),
    ({"type": 3}, "$.type"),
    ({"type": "string", "format": "iri"}, "$.format"),
    ({"type": "string", "format": "iri", "pattern": "^a"}, "$.format"),
    ({"type": "string", "format": "jwt"}, "$.format"),
    ({"anyOf": []}, "$.anyOf"),
    ({"anyOf": [{}, 3]}, "$.anyOf[1]"),
    ({"properties": []}, "$.properties"),
    ({"required": "a"}, "$.required"),
    ({"minLength": -1}, "$.minLength"),
    ({"minLength": 1.5}, "$.minLength"),
    ({"multipleOf": 0}, "$.multipleOf"),
    ({"enum": []}, "$.enum"),
    ({"enum": ["\x01"]}, "control characters"),
    ({"$ref": "https://example.com/x.json"}, "nothing is fetched"),
    ({"$ref": "#/nowhere"}, "points to nothing"),
    ({"$ref": "#unknown"}, "no $anchor"),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "circle"),
    ({"properties": {"a": {"$id": "x"}}}, "$id"),
    (obj(properties={"a": {"$ref": "#"}}, required=["a"]), "only values without an end"),
    (
        obj(
            properties={"a": {"$ref": "#/$defs/a"}},
            required=["a"],
            **{"$defs": {"a": {"type": "array", "minItems": 1, "items": {"anyOf": [{"$ref": "#/$defs/a"}]}}}},
        ),
        "$ref '#/$defs/a'",
    ),
    (obj(unevaluatedProperties=False, allOf=[{}]), "$.unevaluatedProperties"),
    (obj(propertyNames={"format": "uri"}), "$.propertyNames"),
    ({"const": 2**53 + 1}, "$.const: const has an integer that a double"),
    (obj(properties={"a": {"enum": [1, [{"b": -(2**70)}]]}}), "$.properties.a.enum"),
    ({"type": "integer", "minimum": 10**30}, "$.minimum: numbers beyond"),
    ({"type": "number", "exclusiveMaximum": -1e18}, "$.exclusiveMaximum"),
    ({"type": "integer", "multipleOf": 1_000_003}, "$.multipleOf: this multiple"),
    ({"type": "integer", "multipleOf": 86400, "minimum": 0}, "$.multipleOf: this multiple"),
    ({"uniqueItems": "yes"}, "$.uniqueItems"),
    ({"pattern": "a" * 3000}, "$.pattern"),
    ({"minItems": 10**9}, "$.minItems"),
]


def source(vocabulary, schema):
    return build(Job("json_schema", json.dumps(schema)), vocabulary.special, vocabulary.eos_token_ids).source


@pytest.mark.parametrize(("schema", "good", "bad"), CASES, ids=lambda value: json.dumps(value)[:40])
def test_grammar_takes_what_the_schema_allows(vocabulary, accepts, schema, good, bad):
    grammar = source(vocabulary, schema)
    assert [text for text in good if not accepts(grammar, text)] == []
    assert [text for text in bad if accepts(grammar, text)] == []


@pytest.mark.parametrize(("schema", "reason"), REFUSED, ids=lambda value: json.dumps(value)[:40])
def test_what_cannot_be_enforced_is_refused_where_it_stands(schema, reason):
    with pytest.raises(InvalidJsonSchema) as caught:
        prepare(schema, "response_format")
    assert reason in caught.value.message
    assert caught.value.param == "response_format"


@pytest.mark.parametrize(
    ("schema", "keywords"),
    [
        ({"type": "array", "uniqueItems": True}, ("uniqueItems",)),
        ({"type": "array", "uniqueItems": True, "maxItems": 1}, ()),
        (obj(minProperties=2), ("minProperties",)),
        (obj(minProperties=1), ()),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, ("oneOf",)),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, ()),
        (
            {"oneOf": [obj(properties={"k": {"const": c}}, required=["k"]) for c in "ab"]},
            (),
        ),
        ({"oneOf": [obj(required=["a"]), obj(required=["b"])]}, ("oneOf",)),
        ({"type": "string", "format": "duration", "pattern": "^P(?=.)"}, ("pattern",)),
        ({"type": "string", "format": "duration", "pattern": "^P"}, ()),
    ],
)
def test_only_what_the_form_does_not_settle_is_checked_afterwards(schema, keywords):
    assert prepare(schema, "p").checked == keywords


@pytest.mark.long
def test_no_instance_that_the_suite_calls_invalid_is_allowed(vocabulary, accepts):
    wrong, judged = [], 0
    for name, schema, instances in schemas.invalid_instances():
        try:
            built = build(
                Job("json_schema", json.dumps(schema)), vocabulary.special, vocabulary.eos_token_ids
            )
            vocabulary.compile(built.source)
        except (InvalidJsonSchema, GrammarError):
            continue
        for instance in instances:
            text = json.dumps(instance, ensure_ascii=False, separators=(", ", ": "))
            caught = built.check is not None and problem(built.check, text) is not None
            judged += 1
            if not caught and accepts(built.source, text):
                wrong.append((name, text))
    assert judged > 400
    assert wrong == [("ecmascript-regex: ECMA 262 \\S matches everything but whitespace", '"\ufeff"')]


def test_lenient_drops_what_strict_refuses():
    schema = obj(properties={"a": {"if": {}, "type": "string", "format": "iri", "wild": 1}}, contains={})
    done = prepare(schema, "p", lenient=True).schema
    assert done == obj(properties={"a": {"type": "string"}})


def test_limits_of_size():
    deep = {"type": "null"}
    for _ in range(MAX_DEPTH + 1):
        deep = {"items": deep}
    for schema, reason in [
        (deep, "nests deeper"),
        ({"anyOf": [{} for _ in range(MAX_NODES)]}, "subschemas"),
        ({"enum": list(range(MAX_ENUM + 1))}, "enum values"),
    ]:
        with pytest.raises(InvalidJsonSchema, match=reason):
            prepare(schema, "p")


def test_published_table_is_what_the_code_does():
    table = {name: handling for name, handling, _ in rows()}
    assert set(table) == {*KEYWORDS, "any other"}
    for name, keyword in KEYWORDS.items():
        if keyword.handling is Handling.REFUSED:
            with pytest.raises(InvalidJsonSchema, match="can't be enforced"):
                prepare({name: 1}, "p")
        if keyword.handling is Handling.ANNOTATION and name != "$id":
            assert prepare({name: {}}, "p").schema == {}
    assert prepare({"x-any": 1}, "p").schema == {}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text('ab"\\\n é🙂', max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(values, min_size=1, max_size=4))
def test_any_enum_can_be_written_as_python_writes_it(vocabulary, accepts, listed):
    grammar = source(vocabulary, {"enum": listed})
    for value in listed:
        assert accepts(grammar, json.dumps(value, ensure_ascii=False))
        jsonschema.validate(value, {"enum": listed})
