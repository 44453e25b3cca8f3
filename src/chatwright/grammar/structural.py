"""Structural tags: free text with constrained stretches, in xgrammar's shapes (its docs, "Structural Tag").

A format that has no end of its own (any_text, triggered_tags, dispatch) ends with the answer or where a tag around it ends.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from chatwright.core.errors import InvalidJsonSchema
from chatwright.grammar.arguments import tagged
from chatwright.grammar.lark import ANYTHING, Lark, choice
from chatwright.grammar.markup import Parameters
from chatwright.grammar.schema import prepare
from chatwright.grammar.structural_members import (
    PARAM,
    TAG,
    Node,
    fault,
    flag,
    is_kind,
    members,
    repetition,
    strings,
    token_text,
)

MAX_DEPTH = 20
MAX_TAGS = 500
QWEN_PARAMETERS = Parameters("<parameter=", ">", "", "</parameter>", padded=True)
STYLES = {
    "qwen_xml": QWEN_PARAMETERS,
    "glm_xml": Parameters("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
}
"""Ways to write an object that aren't JSON."""


def content(lark: Lark, source: str, grammar_source: Callable[[str], str]) -> str:
    """The rule for a structural tag given as JSON text. Raises InvalidGrammar, InvalidJsonSchema."""
    try:
        tag = json.loads(source)
    except (ValueError, RecursionError):
        raise fault("$", "the structural tag is not JSON, or nests too deeply") from None
    if not isinstance(tag, dict):
        raise fault("$", "the structural tag must be an object")
    builder = _Builder(lark, grammar_source)
    if "structures" in tag:
        return builder.legacy(tag)
    if tag.get("type") != "structural_tag" or "format" not in tag:
        raise fault("$", 'expected {"structures", "triggers"} or {"type": "structural_tag", "format"}')
    return builder.rule(members(tag, "$", format=dict)["format"], "$.format", 0)


class _Builder:
    """Formats by their `type`, each a method (members, path, depth, ends) -> Lark expression.

    `ends` are the literals of which one must follow: the end of the tag around it, where the format comes last in it. The
    expression has them in it. There are none at the end of the answer.
    """

    def __init__(self, lark: Lark, grammar_source: Callable[[str], str]) -> None:
        self._lark = lark
        self._grammar_source = grammar_source
        self._tags = 0

    def legacy(self, tag: Node) -> str:
        """The older shape: each structure is a tag around JSON."""
        members(tag, "$", "type", structures=list, triggers=list)
        tags = []
        for index, one in enumerate(tag["structures"]):
            path = f"$.structures[{index}]"
            found = members(one, path, begin=str, schema=(dict, bool, str), end=str)
            schema = found["schema"]
            inner = {
                "type": "json_schema",
                "json_schema": _loads(schema) if isinstance(schema, str) else schema,
            }
            tags.append({"begin": found["begin"], "end": found["end"], "content": inner})
        return self._triggered_tags({"triggers": tag["triggers"], "tags": tags}, "$", 0, ())

    def rule(self, node: Any, path: str, depth: int, ends: Sequence[str] = ()) -> str:
        """Any format as a rule of its own."""
        if depth > MAX_DEPTH:
            raise fault(path, f"formats nest deeper than {MAX_DEPTH}")
        kind = node.get("type") if isinstance(node, dict) else None
        if kind in _OPEN:
            return self._lark.rule("format", _OPEN[kind](self, node, path, depth, ends))
        if kind not in _CLOSED:
            raise fault(path, f"type must be one of {', '.join([*_CLOSED, *_OPEN])}")
        return self._ended(self._lark.rule("format", _CLOSED[kind](self, node, path, depth)), ends)

    def _ended(self, body: str, ends: Sequence[str]) -> str:
        """A format with an end of its own, and one of `ends` behind it."""
        return f"{body} {choice(self._lark.closing(end) or EMPTY for end in ends)}" if ends else body

    # -- formats that end by themselves --------------------------------------------------------------------------

    def _const_string(self, node: Node, path: str, _depth: int) -> str:
        return self._lark.literal(members(node, path, value=str)["value"]) or EMPTY

    def _json_schema(self, node: Node, path: str, _depth: int) -> str:
        found = members(node, path, "style", "any_order", json_schema=(dict, bool))
        flag(found, "any_order", path)  # the schema's own order is one of those it allows
        style = found.get("style", "json")
        if style != "json":
            if not isinstance(style, str) or style not in STYLES:
                raise fault(f"{path}.style", f"style must be one of json, {', '.join(STYLES)}")
            return self._tagged(found, path, STYLES[style])
        done = prepare(found["json_schema"], PARAM)
        if done.checked:
            raise fault(path, f"{done.checked[0]} can't be enforced inside a structural tag")
        return self._lark.json(done.schema)

    def _qwen_xml_parameter(self, node: Node, path: str, _depth: int) -> str:
        return self._tagged(members(node, path, json_schema=dict), path, QWEN_PARAMETERS)

    def _tagged(self, node: Node, path: str, style: Parameters) -> str:
        if not isinstance(node["json_schema"], dict):
            raise fault(f"{path}.json_schema", "this style needs an object's schema")
        return tagged(self._lark, prepare({**node["json_schema"], "type": "object"}, PARAM).schema, style)

    def _grammar(self, node: Node, path: str, _depth: int) -> str:
        source = self._grammar_source(members(node, path, grammar=str)["grammar"])
        return self._lark.subgrammar(source, "grammar")

    def _regex(self, node: Node, path: str, _depth: int) -> str:
        pattern = members(node, path, pattern=str)["pattern"]
        pattern = pattern.removeprefix("^").removesuffix("$").replace("\n", "\\n")
        slashed = "".join(f"\\{char}" if char == "/" else char for char in pattern.replace(r"\/", "/"))
        return self._lark.text("REGEX", regex=f"/{slashed}/")

    def _token(self, node: Node, path: str, _depth: int) -> str:
        found = members(node, path, token=(str, int))
        return self._lark.literal(token_text(self._lark, found["token"], f"{path}.token"))

    def _repeated(self, node: Node, path: str, depth: int) -> str:
        if _endless(node.get("content")):
            raise fault(f"{path}.content", "text without an end can't be repeated")
        return self.rule(node["content"], f"{path}.content", depth + 1) + repetition(node, path)

    def _tags_with_separator(self, node: Node, path: str, depth: int) -> str:
        found = members(node, path, "at_least_one", "stop_after_first", tags=list, separator=str)
        if not found["tags"]:
            raise fault(path, "tags must not be empty")
        one = choice(self._tag(tag, f"{path}.tags[{i}]", depth) for i, tag in enumerate(found["tags"]))
        name = self._lark.rule("tag", one)
        more = self._lark.literal(found["separator"])
        whole = name if flag(node, "stop_after_first", path) else f"{name} ({more} {name})*"
        return whole if flag(node, "at_least_one", path) else f"({whole} | {EMPTY})"

    def _tag(self, node: Node, path: str, depth: int, cut: int = 0) -> str:
        """begin, content, end; the first `cut` characters of begin stand before it already."""
        self._tags += 1
        if self._tags > MAX_TAGS:
            raise fault(path, f"there are more than {MAX_TAGS} tags")
        found = members(node, path, **TAG)
        begin = self._begin(found["begin"], f"{path}.begin")
        ends = self._ends(found["end"], f"{path}.end")
        return f"{self._lark.literal(begin[cut:])} {self.rule(found['content'], f'{path}.content', depth + 1, ends)}"

    def _begin(self, begin: Any, path: str) -> str:
        return begin if isinstance(begin, str) else self._of_token(begin, path)

    def _ends(self, end: Any, path: str) -> list[str]:
        if isinstance(end, dict):
            return [self._of_token(end, path)]
        found = [end] if isinstance(end, str) else strings(end, path)
        return found if any(found) else []

    def _of_token(self, node: Node, path: str) -> str:
        if not is_kind(node, "token"):
            raise fault(path, "expected a string or a token format")
        return token_text(self._lark, members(node, path, token=(str, int))["token"], f"{path}.token")

    # -- formats that something else must end --------------------------------------------------------------------

    def _free(self, ends: Sequence[str], without: Iterable[str], regex: str = ANYTHING) -> str:
        """Text without some strings, up to and with one of `ends`, or the end of the answer."""
        stops = {end for end in ends if end}
        if not stops:
            return self._lark.text("ANY", regex=regex, without=without)
        return choice(
            self._lark.until(end, regex=regex, without={*without, *stops} - {end}) for end in sorted(stops)
        )

    def _any_text(self, node: Node, path: str, _depth: int, ends: Sequence[str]) -> str:
        members(node, path, "excludes", "max_chars")
        most = node.get("max_chars")
        if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 0):
            raise fault(f"{path}.max_chars", "max_chars must be a whole number, 0 or more")
        regex = ANYTHING if most is None else f"/(?s:.){{0,{most}}}/"
        return self._free(ends, strings(node.get("excludes", []), f"{path}.excludes"), regex)

    def _any_tokens(self, node: Node, path: str, _depth: int, ends: Sequence[str]) -> str:
        """Text has no special tokens in it anyway, so excluding them asks for nothing more."""
        members(node, path, "exclude_tokens")
        self._tokens(node.get("exclude_tokens", []), f"{path}.exclude_tokens")
        return self._free(ends, ())

    def _tokens(self, listed: Any, path: str) -> list[str]:
        if not isinstance(listed, list):
            raise fault(path, "expected an array of tokens")
        return [token_text(self._lark, token, f"{path}[{index}]") for index, token in enumerate(listed)]

    def _sequence(self, node: Node, path: str, depth: int, ends: Sequence[str]) -> str:
        elements = members(node, path, elements=list)["elements"]
        if not elements:
            raise fault(path, "elements must not be empty")
        parts: list[str] = []
        for index, element in enumerate(elements):
            here, last = f"{path}.elements[{index}]", index + 1 == len(elements)
            before = elements[index - 1] if index else None
            if isinstance(before, dict) and before.get("type") in _ENDLESS:
                parts.append(
                    self._ended("", ends) if last else ""
                )  # the string that ended the text before it
            elif last:
                parts.append(self.rule(element, here, depth + 1, ends))
            elif isinstance(element, dict) and element.get("type") in _ENDLESS:
                parts.append(self.rule(element, here, depth + 1, [_stop(elements[index + 1], here)]))
            else:
                parts.append(self.rule(element, here, depth + 1))
        return " ".join(filter(None, parts))

    def _or(self, node: Node, path: str, depth: int, ends: Sequence[str]) -> str:
        elements = members(node, path, elements=list)["elements"]
        if not elements:
            raise fault(path, "elements must not be empty")
        return choice(
            self.rule(element, f"{path}.elements[{index}]", depth + 1, ends)
            for index, element in enumerate(elements)
        )

    def _triggered_tags(self, node: Node, path: str, depth: int, ends: Sequence[str]) -> str:
        found = members(
            node, path, "type", "at_least_one", "stop_after_first", "excludes", triggers=list, tags=list
        )
        triggers = strings(found["triggers"], f"{path}.triggers")
        return self._triggered(found, path, depth, ends, triggers, strings(node.get("excludes", []), path))

    def _token_triggered_tags(self, node: Node, path: str, depth: int, ends: Sequence[str]) -> str:
        optional = ("at_least_one", "stop_after_first", "exclude_tokens")
        found = members(node, path, *optional, trigger_tokens=list, tags=list)
        self._tokens(node.get("exclude_tokens", []), f"{path}.exclude_tokens")
        triggers = self._tokens(found["trigger_tokens"], f"{path}.trigger_tokens")
        return self._triggered(found, path, depth, ends, triggers, ())

    def _triggered(
        self,
        node: Node,
        path: str,
        depth: int,
        ends: Sequence[str],
        triggers: Sequence[str],
        excludes: Iterable[str],
    ) -> str:
        if not all(triggers) or not triggers or not node["tags"]:
            raise fault(path, "triggers and tags must not be empty")
        after: dict[str, list[str]] = {trigger: [] for trigger in triggers}
        whole: list[str] = []
        for index, tag in enumerate(node["tags"]):
            here = f"{path}.tags[{index}]"
            begin = self._begin(members(tag, here, **TAG)["begin"], f"{here}.begin")
            trigger = next((trigger for trigger in triggers if begin.startswith(trigger)), None)
            if trigger is None:
                raise fault(here, "begin must start with one of the triggers")
            after[trigger].append(self._tag(tag, here, depth, len(trigger)))
            whole.append(f"{self._lark.literal(trigger)} {after[trigger][-1]}")
        if unused := next((trigger for trigger, tags in after.items() if not tags), None):
            raise fault(path, f"no tag begins with the trigger {unused[:50]!r}")
        bodies = {trigger: choice(tags) for trigger, tags in after.items()}
        needed, once = flag(node, "at_least_one", path), flag(node, "stop_after_first", path)
        return self._switching(bodies, excludes, ends, choice(whole) if needed else "", once=once)

    def _dispatch(self, node: Node, path: str, depth: int, ends: Sequence[str]) -> str:
        found = members(node, path, "loop", "excludes", rules=list)
        return self._dispatched(found, path, depth, ends, strings(node.get("excludes", []), path))

    def _token_dispatch(self, node: Node, path: str, depth: int, ends: Sequence[str]) -> str:
        found = members(node, path, "loop", "exclude_tokens", rules=list)
        self._tokens(node.get("exclude_tokens", []), f"{path}.exclude_tokens")
        return self._dispatched(found, path, depth, ends, (), by_token=True)

    def _dispatched(
        self,
        node: Node,
        path: str,
        depth: int,
        ends: Sequence[str],
        excludes: Iterable[str],
        *,
        by_token: bool = False,
    ) -> str:
        bodies: dict[str, str] = {}
        for index, pair in enumerate(node["rules"]):
            here = f"{path}.rules[{index}]"
            if not isinstance(pair, list) or len(pair) != 2 or not pair[0]:
                raise fault(here, "expected a pattern and a format")
            pattern = token_text(self._lark, pair[0], here) if by_token else pair[0]
            if not isinstance(pattern, str) or pattern in bodies:
                raise fault(here, "expected a pattern of its own")
            bodies[pattern] = self.rule(pair[1], f"{here}[1]", depth + 1)
        if not bodies:
            raise fault(path, "rules must not be empty")
        return self._switching(bodies, excludes, ends, once=not flag(node, "loop", path, default=True))

    def _switching(
        self,
        bodies: dict[str, str],
        excludes: Iterable[str],
        ends: Sequence[str],
        first: str = "",
        *,
        once: bool,
    ) -> str:
        """Text in which each key of `bodies` is followed by its value. With `first` it begins with that."""
        without = {*bodies, *excludes, *filter(None, ends)}
        tags = choice(
            f"{self._lark.until(marker, 'head', without=without - {marker})} {body}"
            for marker, body in bodies.items()
        )
        text = self._free(ends, without - {*ends})
        if first:
            return self._ended(first, ends) if once else f"{first} {tags}* {text}"
        return f"({self._ended(tags, ends)} | {text})" if once else f"{tags}* {text}"


EMPTY = '""'

_CLOSED: dict[Any, Callable[[_Builder, Node, str, int], str]] = {
    "const_string": _Builder._const_string,
    "json_schema": _Builder._json_schema,
    "qwen_xml_parameter": _Builder._qwen_xml_parameter,
    "grammar": _Builder._grammar,
    "regex": _Builder._regex,
    "tag": _Builder._tag,
    "tags_with_separator": _Builder._tags_with_separator,
    "token": _Builder._token,
    **dict.fromkeys(("optional", "plus", "star", "repeat"), _Builder._repeated),
}
_OPEN: dict[Any, Callable[[_Builder, Node, str, int, Sequence[str]], str]] = {
    "any_text": _Builder._any_text,
    "sequence": _Builder._sequence,
    "or": _Builder._or,
    "triggered_tags": _Builder._triggered_tags,
    "dispatch": _Builder._dispatch,
    "any_tokens": _Builder._any_tokens,
    "token_triggered_tags": _Builder._token_triggered_tags,
    "token_dispatch": _Builder._token_dispatch,
}
_ENDLESS = frozenset(_OPEN) - {"sequence", "or"}


def _endless(node: Any) -> bool:
    """Whether a format ends only where something else ends it."""
    if not isinstance(node, dict):
        return False
    elements = node.get("elements")
    parts = elements if isinstance(elements, list) else []
    if node.get("type") == "sequence":
        return any(map(_endless, parts[-1:]))
    return node.get("type") in _ENDLESS or (node.get("type") == "or" and any(map(_endless, parts)))


def _stop(follows: Any, path: str) -> str:
    """The string that ends text which is not last in a sequence."""
    marker = follows.get("value") if is_kind(follows, "const_string") else None
    if not isinstance(marker, str) or not marker:
        raise fault(path, "it must come last, or before a const_string that ends it")
    return marker


def _loads(schema: str) -> Any:
    try:
        return json.loads(schema)
    except (ValueError, RecursionError):
        raise InvalidJsonSchema(
            "A structure's schema is not JSON, or nests too deeply.", param=PARAM
        ) from None
