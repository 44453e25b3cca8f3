"""What a Ray cluster costs, and what a second replica brings (`make bench-ray`)."""

from __future__ import annotations

from typing import Any

from benchmarks import home, servers
from benchmarks.bench import Bench
from benchmarks.client import ask_all, summary
from benchmarks.scenarios import first_token, throughput
from benchmarks.scenarios.wire import GOAL_MS, GOAL_SHARE
from benchmarks.tables import number, percent, table

TITLE = "On a Ray cluster"
DIRECT, THROUGH = "Chatwright on one machine", "Chatwright on Ray"
PEERS = (DIRECT, THROUGH)
GOAL_SPEEDUP = 1.9
STEP_SECONDS = 0.04
RUNNING = 8
"""Sequences of one simulated engine: what more than that asks for, it makes wait."""
VOCABULARY = 49_152


async def measure(bench: Bench) -> dict[str, Any]:
    """First tokens and tokens a second with one replica, beside none of Ray; then two replicas beside one."""
    speedup = {}
    for replicas in (1, 2):
        speedup[str(replicas)] = await _simulated(bench, replicas)
    bench.add(DIRECT, servers.chatwright(DIRECT, home.HOME, kv_cache_gib=1.0))
    bench.add(THROUGH, servers.on_ray(THROUGH, home.HOME, kv_cache_gib=1.0))
    return {
        "simulated": speedup,
        "throughput": await throughput.measure(bench, PEERS, None),
        "first_token": await first_token.measure(bench, PEERS),
    }


async def _simulated(bench: Bench, replicas: int) -> dict[str, float]:
    """Tokens a second of engines that only wait: each step takes the same time, whatever the machine does."""
    simulated = {"vocab_size": VOCABULARY, "step_seconds": STEP_SECONDS}
    options = {"kind": "simulated", "simulated": simulated}
    with servers.on_ray(
        f"{replicas} simulated", home.HOME, replicas, options, max_running_requests=RUNNING, speculation=False
    ) as server:
        prompts = await bench.prompts(server)
        warm = [prompts.body(bench.scale.prompt, 4) for _ in range(2 * RUNNING)]
        await ask_all(server.address, warm)
        bodies = [prompts.body(bench.scale.prompt, bench.scale.new) for _ in range(4 * RUNNING)]
        return summary(await ask_all(server.address, bodies))


def overhead(data: dict[str, Any]) -> dict[str, float]:
    """Milliseconds of the first token and the share of tokens a second that Ray costs, and the second replica's gain."""
    idle, many, one = data["first_token"]["idle"], data["throughput"]["many"], data["throughput"]["one"]
    simulated = data["simulated"]
    return {
        "fresh_ms": idle[THROUGH]["fresh_ms"] - idle[DIRECT]["fresh_ms"],
        "cached_ms": idle[THROUGH]["cached_ms"] - idle[DIRECT]["cached_ms"],
        "many_share": 1 - many[THROUGH]["tokens_per_s"] / many[DIRECT]["tokens_per_s"],
        "one_share": 1 - one[THROUGH]["tokens_per_s"] / one[DIRECT]["tokens_per_s"],
        "speedup": simulated["2"]["tokens_per_s"] / simulated["1"]["tokens_per_s"],
    }


def tables(data: dict[str, Any]) -> str:
    """As in the scenarios themselves, and the difference."""
    lost = overhead(data)
    rows = [
        ("time to the first token, ms more", number(lost["fresh_ms"]), f"under {GOAL_MS:g}"),
        ("the same, prompt cached, ms more", number(lost["cached_ms"]), f"under {GOAL_MS:g}"),
        ("tokens/s lost, many streams", percent(lost["many_share"]), f"under {percent(GOAL_SHARE)}"),
        ("tokens/s lost, one stream", percent(lost["one_share"]), f"under {percent(GOAL_SHARE)}"),
        ("two simulated replicas against one", number(lost["speedup"]), f"at least {GOAL_SPEEDUP:g}"),
    ]
    parts = (throughput.tables(data["throughput"]), first_token.tables(data["first_token"]))
    return "\n".join((*parts, table(("what Ray costs and brings", "measured", "goal"), rows)))
