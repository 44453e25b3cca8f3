"""Writes the reference pages from the code: parameters, errors, limits, configuration, JSON Schema.

python docs/generate.py           writes them
python docs/generate.py --check   fails where one is out of date, or where a field has no test
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

from engines_page import engines, refusing
from proofs import Proof, proofs
from schema_words import Schema, default, kind, span, table

from chatwright.api.errors import TABLE as STATUSES
from chatwright.api.errors import status_of
from chatwright.api.limits import TABLE as LIMITS
from chatwright.api.openai.wire import ChatCompletionRequest
from chatwright.config import Settings
from chatwright.core.errors import BY_CODE
from chatwright.engines.scripted import UNSUPPORTED
from chatwright.grammar.keywords import rows as keyword_rows
from chatwright.server.card import DRAWING

HERE = Path(__file__).parent
MADE = "Made from the code by `docs/generate.py`; `make docs` writes it again, and `make lint` fails where it is out of date."
REFUSED_BY_NATURE = frozenset({"store"})
"""Fields whose only effect is a refusal."""
Page = list[str]


def parameters() -> Page:
    """The request's fields and the objects within them."""
    schema = ChatCompletionRequest.model_json_schema()
    found: dict[str, list[Proof]] = defaultdict(list)
    for proof in proofs():
        found[proof.field].append(proof)
    rows = [
        (
            f"`{name}`",
            kind(member),
            span(member),
            default(member, required=name in schema["required"]),
            member.get("description", ""),
            _engines(name),
            _links(found[name]),
        )
        for name, member in schema["properties"].items()
    ]
    head = ("field", "type", "range", "default", "meaning", "engines", "proved by")
    return [
        "# Parameters of `POST /v1/chat/completions`",
        "",
        MADE,
        "",
        "Null is the same as leaving a field out, unless its meaning says otherwise. Any other member is refused with the name",
        "that was probably meant. What an engine doesn't support is refused where it is given another value than its default;",
        '`GET /v1/models` lists `supported_parameters` for each model. Under "proved by" are tests of the effect, by file; the',
        "number behind them counts the values that are shown to be refused. What becomes of each field on vLLM, SGLang and",
        "TensorRT-LLM is in [engines.md](engines.md). A scripted engine has one token to draw from at each place: how to draw",
        f"({', '.join(f'`{name}`' for name in sorted(DRAWING))}) is accepted there and changes nothing.",
        "",
        *table(head, rows),
        "",
        "# Objects within",
        *_objects(schema["$defs"]),
    ]


def _engines(name: str) -> str:
    lacking = ["scripted"] if name in UNSUPPORTED or name in DRAWING else []
    lacking += refusing(name)
    return f"all but {', '.join(lacking)}" if lacking else "all"


def _links(found: list[Proof]) -> str:
    by_file: dict[str, list[str]] = defaultdict(list)
    for proof in found:
        if proof.effect:
            by_file[proof.path].append(proof.name)
    links = [f"[{', '.join(dict.fromkeys(names))}](../{path})" for path, names in by_file.items()]
    refusals = sum(not proof.effect for proof in found)
    return "; ".join([*links, f"{refusals} refused"] if refusals else links)


def _objects(definitions: dict[str, Schema]) -> Page:
    page: Page = []
    for name, schema in sorted(definitions.items()):
        rows = [
            (
                f"`{member}`",
                kind(value),
                span(value),
                default(value, required=member in schema.get("required", ())),
                value.get("description", ""),
            )
            for member, value in schema.get("properties", {}).items()
        ]
        head = ("member", "type", "range", "default", "meaning")
        page += ["", f"## {name}", "", schema.get("description", ""), "", *table(head, rows)]
    return page


def missing() -> list[str]:
    """What the proofs lack: fields without a test of their effect, and proofs of fields that don't exist."""
    found = proofs()
    fields = set(ChatCompletionRequest.model_json_schema()["properties"])
    proved = {proof.field for proof in found if proof.effect or proof.field in REFUSED_BY_NATURE}
    refused = {"web_search_options", "functions", "use_beam_search", "temprature"}
    return [
        *(f"no test proves the field {name}" for name in sorted(fields - proved)),
        *(
            f"{proof.path}: {proof.name} proves {proof.field}, which is no field"
            for proof in found
            if proof.field not in fields | refused
        ),
    ]


def errors() -> Page:
    """Every error by its status."""
    made = [(status_of(cls("")), cls) for cls in BY_CODE.values()]
    rows = [
        (str(row.status), f"`{row.type}`", f"`{row.code or cls.code}`", _meaning(cls))
        for row, cls in sorted(made, key=lambda pair: (pair[0].status, pair[1].code))
    ]
    assert {row.status for row, _ in made} == {row.status for row in STATUSES.values()}
    return [
        "# Errors",
        "",
        MADE,
        "",
        'Every response that is no success has the body `{"error": {"message", "type", "param", "code"}}` and the header',
        "`x-request-id`. `param` is the path of the field at fault (`messages.[2].content`), or null. 401 comes with",
        "`WWW-Authenticate: Bearer`, 405 with `Allow`, 429 and 503 with `Retry-After` and `retry-after-ms`; where a retry can't",
        "help, `x-should-retry: false` tells the official clients so. Once a stream has begun, an error is one event with",
        "that body, then `[DONE]`. 422 is never used.",
        "",
        *table(("status", "type", "code", "meaning"), rows),
    ]


def _meaning(cls: type[Exception]) -> str:
    """The first line of its docstring, without the status, which has a column of its own."""
    return re.sub(r" \(\d+\)", "", (cls.__doc__ or "").split("\n")[0])


def limits() -> Page:
    """Every bound on a request."""
    rows = [(limit.subject, f"{limit.maximum:,}", limit.unit) for limit in LIMITS]
    return [
        "# Limits",
        "",
        MADE,
        "",
        "Size, depth and the number of values are enforced while a body is read; one that passes them is never parsed. Past",
        "any of the others a request gets a 400 that names the field; headers or a body that are too large get 413.",
        "",
        *table(("of", "at most", "unit"), rows),
    ]


def configuration() -> Page:
    """Every setting, and a file with some of them."""
    schema = Settings.model_json_schema()
    page = [
        "# Configuration",
        "",
        MADE,
        "",
        "One TOML file (`--config FILE` or `CHATWRIGHT_CONFIG`), then the environment, then flags; each overrides the one",
        "before. Nested settings have `__` between their names in the environment, lists of objects are JSON there. A setting",
        "that doesn't exist, or a value out of its range, ends the start with one line that names it.",
        "",
        *table(
            ("key", "environment", "type", "range", "default", "meaning"), _settings(schema, "CHATWRIGHT_")
        ),
    ]
    for name, inner in schema.get("$defs", {}).items():
        page += ["", f"## {name}", "", inner.get("description", ""), ""]
        page += table(
            ("key", "type", "range", "default", "meaning"),
            [(key, *rest) for key, _, *rest in _settings(inner)],
        )
    example = (HERE / "chatwright.toml").read_text(encoding="utf-8").rstrip()
    return [
        *page,
        "",
        "## Example",
        "",
        "This is [chatwright.toml](chatwright.toml); a test loads it.",
        "",
        "```toml",
        example,
        "```",
    ]


def _settings(schema: Schema, prefix: str = "") -> list[tuple[str, ...]]:
    required = schema.get("required", ())
    return [
        (
            f"`{name}`",
            f"`{prefix}{name.upper()}`",
            kind(member),
            span(member),
            default(member, required=name in required),
            member.get("description", ""),
        )
        for name, member in schema["properties"].items()
    ]


def json_schema() -> Page:
    """What becomes of each keyword of JSON Schema."""
    return [
        "# JSON Schema",
        "",
        MADE,
        "",
        "Keywords of JSON Schema 2020-12 in `response_format` and in the parameters of strict tools. *enforced*: the grammar",
        "lets no token through that would break it. *checked*: the finished answer is held to it, and one that fails is an",
        'error, never a 200 with `finish_reason` "stop". *refused*: 400 `invalid_json_schema` that names the path.',
        "Nothing is dropped silently.",
        "",
        *table(
            ("keyword", "handling", "note"),
            [(f"`{word}`", handling, note) for word, handling, note in keyword_rows()],
        ),
    ]


PAGES = {
    "json-schema.md": json_schema,
    "parameters.md": parameters,
    "errors.md": errors,
    "limits.md": limits,
    "configuration.md": configuration,
    "engines.md": lambda: engines(MADE),
}


def main(check: bool) -> int:
    """Write the pages, or say which are out of date; returns the exit status."""
    problems = missing()
    for name, make in PAGES.items():
        text = "\n".join(make()) + "\n"
        path = HERE / name
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            problems.append(f"docs/{name} is out of date; run make docs")
    print("\n".join(problems) or "docs: ok")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
