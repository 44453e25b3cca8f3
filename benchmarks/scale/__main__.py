"""`python -m benchmarks.scale [STUDY ...]`: simulate, store in results/scale.json, write the tables of docs/scaling.md."""

from __future__ import annotations

import json
import sys
import time

from benchmarks.scale.profile import RESULTS
from benchmarks.scale.report import publish
from benchmarks.scale.studies import SEED, STUDIES

STORED = RESULTS / "scale.json"


def main(names: list[str]) -> None:
    """Run the named studies, all without a name."""
    stored = (
        json.loads(STORED.read_text()) if STORED.exists() else {"scenario": "scale", "seed": SEED, "data": {}}
    )
    for name in names or STUDIES:
        begun = time.perf_counter()
        stored["data"][name] = STUDIES[name]()
        print(f"{name}: {time.perf_counter() - begun:.1f} s", flush=True)
    STORED.write_text(json.dumps(stored, indent=1) + "\n")
    publish()


if __name__ == "__main__":
    main(sys.argv[1:])
