"""docs/engines.md: the hand-written guide (engines.in.md) and the table of capabilities, from the code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from schema_words import table

from chatwright.engines import sglang, trtllm, vllm
from chatwright.engines.remote.capabilities import Capability

HERE = Path(__file__).parent
ENGINES: Mapping[str, tuple[Capability, ...]] = {
    f"vLLM {vllm.VERSION}": vllm.CAPABILITIES,
    f"SGLang {sglang.VERSION}": sglang.CAPABILITIES,
    f"TensorRT-LLM {trtllm.VERSION}": trtllm.CAPABILITIES,
}


def engines(made: str) -> list[str]:
    """The page."""
    guide = (HERE / "engines.in.md").read_text(encoding="utf-8").rstrip()
    by_engine = [{row.field: row for row in rows} for rows in ENGINES.values()]
    fields = list(dict.fromkeys(field for rows in by_engine for field in rows))
    rows = [(f"`{field}`", *(_cell(one.get(field)) for one in by_engine)) for field in fields]
    return [
        *guide.split("\n"),
        "",
        "## What becomes of each field",
        "",
        made,
        "",
        *table(("field", *ENGINES), rows),
    ]


def refusing(field: str) -> list[str]:
    """The engines that refuse a field whatever they were started with."""
    handled = {engine: {row.field: row.handling for row in rows} for engine, rows in ENGINES.items()}
    if not any(field in rows for rows in handled.values()):
        return []
    return [
        engine.rsplit(" ", 1)[0]
        for engine, rows in handled.items()
        if rows.get(field, "refused") == "refused"
    ]


def _cell(row: Capability | None) -> str:
    if row is None:
        return "refused"
    note = f": {row.note}" if row.note else ""
    return f"**{row.handling}**{note}"
