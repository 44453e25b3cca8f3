"""docs/performance.md from the stored results: goals, tables, picture; and what docs/operations.md tells of overload.

`python -m benchmarks.report` makes both anew.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from benchmarks import goals
from benchmarks.machine import ROOT
from benchmarks.servers import BENCH_PYTHON
from benchmarks.tables import table

RESULTS = ROOT / "benchmarks/results"
DOCUMENT = ROOT / "docs/performance.md"
OPERATIONS = ROOT / "docs/operations.md"
ELSEWHERE = ("overload", "fairness")
"""Scenarios whose tables are in the page for operators."""
PICTURE = ROOT / "docs/performance.svg"
BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"


def load(folder: Path = RESULTS) -> dict[str, Any]:
    """All stored results by scenario."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def text(results: dict[str, Any]) -> str:
    """The generated part: what was aimed for, then a section a scenario in the order of `run.SCENARIOS`."""
    from benchmarks.run import SCENARIOS  # noqa: PLC0415  it imports this file

    found = {name: result["data"] for name, result in results.items()}
    parts = ["### Goals\n", table(("goal", "aimed for", "measured", "met"), goals.rows(found))]
    for name, module in SCENARIOS.items():
        if name in results and name not in ELSEWHERE:
            parts += [f"### {module.TITLE}\n", stamp(results[name]), module.tables(results[name]["data"])]
    if "growth" in results and "engines" in results:
        parts.append(f"![Speed and memory against streams and context]({PICTURE.name})\n")
    return "\n".join(parts)


def operations(results: dict[str, Any]) -> str:
    """The generated part of the page for operators."""
    from benchmarks.run import SCENARIOS  # noqa: PLC0415  it imports this file

    parts: list[str] = []
    for name in ELSEWHERE:
        if name in results:
            module = SCENARIOS[name]
            parts += [f"### {module.TITLE}\n", stamp(results[name]), module.tables(results[name]["data"])]
    return "\n".join(parts)


def stamp(result: dict[str, Any]) -> str:
    """When, where and of what."""
    at, versions = result["machine"], result["versions"]
    return (
        f"{at['date']}, {at['cores']} cores of {at['processor']}, {at['memory_gib']} GiB, load before {at['load_before']}, "
        f"took {at['seconds']:.0f} s. Commit {at['commit']}, Python {at['python']}, "
        + ", ".join(
            f"{name} {version}"
            for name, version in versions.items()
            if not name.lower().startswith("chatwright")
        )
        + f". `{at['command']}`\n"
    )


def publish() -> None:
    """Write the generated parts and the picture. Raises ValueError where a document lacks the marks."""
    results = load()
    _write(DOCUMENT, text(results))
    if set(ELSEWHERE) <= set(results):
        _write(OPERATIONS, operations(results))
    if BENCH_PYTHON.exists() and {"growth", "engines"} <= set(results):
        script = str(ROOT / "benchmarks/plot.py")
        subprocess.run([str(BENCH_PYTHON), script, str(RESULTS), str(PICTURE)], check=True)


def _write(document: Path, generated: str) -> None:
    before, begin, rest = document.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} lacks the marks {BEGIN} and {END}")
    document.write_text(f"{before}{BEGIN}\n\n{generated}\n{END}{after}")


if __name__ == "__main__":
    publish()
