"""The generated part of docs/scaling.md."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.machine import ROOT
from benchmarks.scale import bill
from benchmarks.scale.profile import RESULTS
from benchmarks.tables import number, percent, table

DOCUMENT = ROOT / "docs/scaling.md"
BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"
FLEETS = (64, 256, 1024, 4096)
_TAILS = (
    "TTFT p50 s",
    "p99",
    "p99.9",
    "ITL p50 ms",
    "p99",
    "prompt cached",
    "tokens/s",
    "replica-hours/M tokens",
)

Row = dict[str, Any]


def _tails(row: Row) -> tuple[str, ...]:
    names = ("ttft_p50", "ttft_p99", "ttft_p999", "itl_p50_ms", "itl_p99_ms")
    return (
        *(number(row[name]) for name in names),
        percent(row["cached_share"]),
        number(row["tokens_per_s"]),
        number(row["replica_hours_per_million_tokens"]),
    )


def _calibration(found: Row) -> str:
    head = (
        "replica",
        "fixed ms a step",
        "ms a row",
        "ms a prompt token",
        "load 1, requests/s",
        "figures are",
    )
    rows = [
        (p["name"], *(number(p[k]) for k in ("fixed_ms", "row_ms", "token_ms", "rate")), p["origin"])
        for p in found["profiles"]
    ]
    told = f"32 streams of 130 prompt and 128 new tokens: {number(found['predicted_tokens_per_s'])} tokens/s by the model."
    return table(head, rows) + f"\n{told}\n"


def _loads(rows: list[Row]) -> str:
    lines = [(f"{r['profile']}, {r['replicas']} replicas, load {r['load']}", *_tails(r)) for r in rows]
    return table(("", *_TAILS), lines)


def _large(row: Row) -> str:
    what = f"{row['replicas']:,} replicas, load {row['load']}, {row['requests']:,} requests of {row['keys_seen']:,} keys"
    return table(("", *_TAILS), [(what, *_tails(row))])


def _routing(rows: list[Row]) -> str:
    lines = [
        (f"{r['router']}, {'true loads' if not r['period'] else 'up to 2 s old'}", *_tails(r)) for r in rows
    ]
    return table(("256 replicas, load 0.75", *_TAILS), lines)


def _packaged(rows: list[Row]) -> str:
    return table(("64 replicas, load 0.75", *_TAILS), [(r["router"], *_tails(r)) for r in rows])


def _cells(rows: list[Row]) -> str:
    def name(row: Row) -> str:
        number_of = row["replicas"] // row["size"]
        hot = f", hot keys in up to {row['spread']}" if row["spread"] > 1 else ""
        return f"{number_of} of {row['size']}{hot}"

    return table(("512 replicas, load 0.75, cells", *_TAILS), [(name(r), *_tails(r)) for r in rows])


def _burst(rows: list[Row]) -> str:
    head = ("", "turned away", *_TAILS)
    lines = [
        (f"{r['replicas']} replicas, {r['slots']} run, {r['waiting']} may wait", f"{r['shed']:,}", *_tails(r))
        for r in rows
    ]
    return table(head, lines)


def _day(rows: list[Row]) -> str:
    lines = [(r["fleet"], r["replicas"], *_tails(r)) for r in rows]
    return table(("", "most replicas", *_TAILS), lines)


def _bill(shared: Row) -> str:
    head = ("one unit of", "bears", "", "replicas of ours it carries")
    lines = [(part.name, number(part.bears), part.unit, number(part.replicas)) for part in bill.parts(shared)]
    decisions = number(1 / bill.decision_seconds(shared, 64))
    carried = number(bill.router_limit(shared))
    lines.append(("router, one core", decisions, "decisions/s at 64 replicas", carried))
    return table(head, lines)


def _growth(shared: Row) -> str:
    def line(name: str, values: list[str]) -> tuple[str, ...]:
        return (name, *values)

    by_name = {part.name: part for part in bill.parts(shared)}
    lines = [
        line(f"{name}, units needed", [number(by_name[name].used(n)) for n in FLEETS])
        for name in ("API process, one core", "ledger, PostgreSQL", "keys, PostgreSQL", "limiter, Redis")
    ]
    lines += [
        line("one router, cores needed", [number(bill.router_busy(shared, n)) for n in FLEETS]),
        line("prefix index of a router, MB", [number(bill.index_bytes(shared, n) / 1e6) for n in FLEETS]),
        line("load readings/s, all to all", [number(bill.polls(shared, n)) for n in FLEETS]),
        line("series by key, 1,000 keys a process", [number(bill.series(shared, n)) for n in FLEETS]),
        line("series by key, a million keys", [number(bill.series(shared, n, 1_000_000)) for n in FLEETS]),
    ]
    return table(("of one flat fleet", *(f"{n:,} replicas" for n in FLEETS)), lines)


SECTIONS = {
    "calibration": ("The replicas", _calibration),
    "loads": ("Tails and cost against load", _loads),
    "large": ("Thousands of replicas", _large),
    "routing": ("Routers, and what they don't know", _routing),
    "packaged": ("The package's router in one cell", _packaged),
    "cells": ("Cells", _cells),
    "burst": ("A burst: load 0.6, three times as much for ten seconds", _burst),
    "day": ("A wave of ten minutes", _day),
}


def text(studies: dict[str, Any], shared: Row | None) -> str:
    """Everything between the marks."""
    parts = [
        f"### {title}\n\n{write(studies[name])}"
        for name, (title, write) in SECTIONS.items()
        if name in studies
    ]
    if shared is not None:
        parts += [
            f"### What one unit bears\n\n{_bill(shared)}",
            f"### What a flat fleet needs\n\n{_growth(shared)}",
        ]
    return "\n".join(parts)


def publish() -> None:
    """Write the generated part. Raises ValueError where the document lacks the marks."""
    studies = json.loads((RESULTS / "scale.json").read_text())["data"]
    shared = bill.load() if (RESULTS / "scale_shared.json").exists() else None
    whole = DOCUMENT.read_text()
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DOCUMENT} lacks the marks {BEGIN} and {END}")
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text(studies, shared)}\n{END}{after}")
