"""Reads what a server's /metrics says (Prometheus text format 0.0.4), as far as a load reading needs it."""

from __future__ import annotations

import re
from collections.abc import Mapping

Samples = Mapping[str, float]
"""Values by metric name, summed over labels; `name{label}` has a label's value where it is a number."""

_LINE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)")
_LABEL = re.compile(r'(\w+)="(\d+(?:\.\d+)?)"')
MOST_BYTES = 4 << 20


def read_samples(text: str) -> dict[str, float]:
    """All samples of a page; lines that can't be read are left out."""
    found: dict[str, float] = {}
    for line in text[:MOST_BYTES].splitlines():
        match = None if line.startswith("#") else _LINE.match(line)
        if match is None:
            continue
        name, labels, value = match.groups()
        try:
            found[name] = found.get(name, 0.0) + float(value)
        except ValueError:
            continue
        for label, number in _LABEL.findall(labels or ""):
            found[f"{name}{{{label}}}"] = float(number)
    return found
