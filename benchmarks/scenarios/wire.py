"""What Chatwright in front of vLLM costs: vLLM asked directly, and the same one through Chatwright (`make bench-wire`)."""

from __future__ import annotations

from typing import Any

from benchmarks import home, servers
from benchmarks.bench import Bench
from benchmarks.scenarios import first_token, throughput
from benchmarks.tables import number, percent, table

TITLE = "In front of vLLM"
DIRECT, THROUGH = "vLLM, directly", "Chatwright in front of vLLM"
PEERS = (DIRECT, THROUGH)
GOAL_MS, GOAL_SHARE = 3.0, 0.05
CONTEXT = 2048


async def measure(bench: Bench) -> dict[str, Any]:
    """First tokens and tokens a second of both."""
    context = ("--max-model-len", str(CONTEXT))
    vllm = bench.add(DIRECT, servers.vllm_for_chatwright(DIRECT, home.hugging_face_folder(), *context))
    backends = [{"url": f"http://127.0.0.1:{vllm.address.port}"}]
    ours = servers.chatwright(THROUGH, home.HOME, engine="vllm", backends=backends, context_length=CONTEXT)
    bench.add(THROUGH, ours)
    return {
        "throughput": await throughput.measure(bench, PEERS, None),
        "first_token": await first_token.measure(bench, PEERS),
    }


def overhead(data: dict[str, Any]) -> dict[str, float]:
    """What is lost on the way: milliseconds of the first token, and the share of tokens a second."""
    idle, many, one = data["first_token"]["idle"], data["throughput"]["many"], data["throughput"]["one"]
    return {
        "fresh_ms": idle[THROUGH]["fresh_ms"] - idle[DIRECT]["fresh_ms"],
        "cached_ms": idle[THROUGH]["cached_ms"] - idle[DIRECT]["cached_ms"],
        "many_share": 1 - many[THROUGH]["tokens_per_s"] / many[DIRECT]["tokens_per_s"],
        "one_share": 1 - one[THROUGH]["tokens_per_s"] / one[DIRECT]["tokens_per_s"],
    }


def tables(data: dict[str, Any]) -> str:
    """As in the scenarios themselves, and the difference."""
    lost = overhead(data)
    rows = [
        ("time to the first token, ms", number(lost["fresh_ms"]), f"under {GOAL_MS:g}"),
        ("the same, prompt cached, ms", number(lost["cached_ms"]), f"under {GOAL_MS:g}"),
        ("tokens/s, many streams", percent(lost["many_share"]), f"under {percent(GOAL_SHARE)}"),
        ("tokens/s, one stream", percent(lost["one_share"]), f"under {percent(GOAL_SHARE)}"),
    ]
    parts = (throughput.tables(data["throughput"]), first_token.tables(data["first_token"]))
    return "\n".join((*parts, table(("what Chatwright costs", "measured", "goal"), rows)))
