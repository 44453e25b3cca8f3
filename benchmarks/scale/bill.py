"""What a fleet asks of the state it shares, against what one unit of it was measured to bear."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.scale.profile import RESULTS
from benchmarks.scale.studies import LENGTHS, full_rate, measured

LOAD = 0.7
"""Of every replica."""
BLOCKS = 16_384
"""Blocks of prefixes that a router remembers of each replica."""
POLL = 2.0
"""Seconds between two readings of a replica's load by a router."""
API_SHARE = 0.7
"""How busy an API process may be."""


class Part(NamedTuple):
    """One shared thing. `per_replica` is asked of it for each replica, `bears` is what one unit of it can."""

    name: str
    unit: str
    per_replica: float
    bears: float

    @property
    def replicas(self) -> float:
        """The fleet that one unit carries."""
        return self.bears / self.per_replica

    def used(self, replicas: int) -> float:
        """Part of one unit that a fleet uses."""
        return replicas / self.replicas


def load(results: Path = RESULTS) -> dict[str, Any]:
    """What `shared.py` measured, and what the API's event loop costs a token."""
    found: dict[str, Any] = json.loads((results / "scale_shared.json").read_text())["data"]
    throughput = json.loads((results / "throughput.json").read_text())["data"]
    found["api_us_per_token"] = throughput["many"]["Chatwright, speculation off"]["api_us_per_token"]
    return found


def requests_per_replica() -> float:
    """Requests a second that a replica of ours brings."""
    return LOAD * full_rate(measured())


def parts(shared: dict[str, Any]) -> list[Part]:
    """Everything whose need grows in proportion to the fleet, weakest first."""
    rate = requests_per_replica()
    tokens = rate * LENGTHS.output
    found = [
        Part("API process, one core", "tokens/s", tokens, API_SHARE * 1e6 / shared["api_us_per_token"]),
        Part("ledger, PostgreSQL", "requests/s", rate, shared["ledger_postgresql"]["requests_per_s"]),
        Part("keys, PostgreSQL", "look-ups/s", rate, shared["ledger_postgresql"]["keys_per_s"]),
        Part("ledger, SQLite", "requests/s", rate, shared["ledger_sqlite"]["requests_per_s"]),
        Part("limiter, Redis", "requests/s", rate, shared["limiter_redis"]["requests_per_s"]),
    ]
    return sorted(found, key=lambda part: part.replicas)


def decision_seconds(shared: dict[str, Any], replicas: float) -> float:
    """Of the package's router over so many replicas: a line through what was measured."""
    few, many = shared["router"][0], shared["router"][-1]
    slope = (many["us"] - few["us"]) / (many["replicas"] - few["replicas"])
    return float(few["us"] + slope * (replicas - few["replicas"])) / 1e6


def router_busy(shared: dict[str, Any], replicas: float) -> float:
    """Part of a core that one router for so many replicas uses: the decisions grow with the fleet, and each one's price too."""
    return replicas * requests_per_replica() * decision_seconds(shared, replicas)


def router_limit(shared: dict[str, Any]) -> float:
    """Replicas at which one router is always busy."""
    low, high = 1.0, 1e5
    while high - low > 0.5:
        middle = (low + high) / 2
        low, high = (middle, high) if router_busy(shared, middle) < 1 else (low, middle)
    return low


def routers(shared: dict[str, Any], replicas: int) -> int:
    """API processes, each of which routes, for so many replicas."""
    api = next(part for part in parts(shared) if part.name.startswith("API"))
    return math.ceil(api.used(replicas))


def index_bytes(shared: dict[str, Any], replicas: int) -> float:
    """Memory of one router for the prefixes of so many replicas."""
    return float(shared["index_bytes_per_block"] * BLOCKS * replicas)


def polls(shared: dict[str, Any], replicas: int) -> float:
    """Readings of loads a second where every router asks every replica."""
    return replicas * routers(shared, replicas) / POLL


def series(shared: dict[str, Any], replicas: int, keys: int = 1000) -> int:
    """Prometheus series with a key's label, three for each key, over all API processes."""
    return 3 * keys * routers(shared, replicas)
