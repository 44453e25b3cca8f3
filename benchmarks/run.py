"""Measure, store, report: `python -m benchmarks.run [SCENARIO ...] [--smoke] [--out FOLDER]`.

Each scenario's JSON is stored as soon as it is done; one that fails is reported, and the others go on. Without --out the
tables of docs/performance.md and its picture are made anew from all stored results.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import uvloop

from benchmarks import machine, report
from benchmarks.bench import FULL, SMOKE, Bench
from benchmarks.scale import report as scaling
from benchmarks.scenarios import (
    beside_vllm,
    billion,
    constrained,
    engines,
    fairness,
    first_token,
    growth,
    long_prefill,
    on_ray,
    overload,
    routing,
    speculation,
    startup,
    throughput,
    wire,
)

SCENARIOS: dict[str, ModuleType] = {
    "startup": startup,
    "throughput": throughput,
    "first_token": first_token,
    "speculation": speculation,
    "constrained": constrained,
    "long_prefill": long_prefill,
    "overload": overload,
    "fairness": fairness,
    "routing": routing,
    "engines": engines,
    "growth": growth,
    "billion": billion,
    "beside_vllm": beside_vllm,
    "wire": wire,
    "on_ray": on_ray,
}
ON_DEMAND = ("beside_vllm", "wire", "on_ray")


def measure(name: str, bench: Bench) -> dict[str, Any]:
    """One scenario, stamped."""
    stamp = machine.describe()
    began = time.perf_counter()
    data = uvloop.run(SCENARIOS[name].measure(bench))  # the client shares the cores with what it measures
    stamp["seconds"] = round(time.perf_counter() - began, 1)
    return {
        "scenario": name,
        "machine": stamp,
        "versions": machine.versions() | bench.versions(),
        "data": data,
    }


def run(names: list[str], bench: Bench, folder: Path) -> list[str]:
    """Measure and store; returns the names that failed."""
    failed = []
    for name in names:
        print(f"{name} ...", flush=True)
        try:
            found = measure(name, bench)
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        (folder / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
        print(SCENARIOS[name].tables(found["data"]))
        print(f"  took {found['machine']['seconds']} s\n", flush=True)
    return failed


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "scenario", nargs="*", choices=[*SCENARIOS, []], help="default: all that need no vLLM"
    )
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does everything work?")
    parser.add_argument("--out", type=Path, help="where results go instead of benchmarks/results and docs")
    parser.add_argument(
        "--seed", type=int, default=os.getpid(), help="of the prompts; by default new each time"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers end with us
    names = options.scenario or [name for name in SCENARIOS if name not in ON_DEMAND]
    if options.smoke and not options.out:
        parser.error("--smoke measures nothing worth keeping: give --out")
    folder = options.out or report.RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    with Bench(SMOKE if options.smoke else FULL, options.seed) as bench:
        failed = run(names, bench, folder)
    if not options.out:
        report.publish()
        scaling.publish()  # its bill is reckoned with what was measured here
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
