"""Does one project's burst keep another one waiting, and do weights divide a busy server as they say?"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from typing import Any

import numpy as np

from benchmarks import tenants
from benchmarks.bench import TENANTS, Bench
from benchmarks.client import Address, Reply, ask, start
from benchmarks.prompts import Prompts
from benchmarks.tables import number, percent, table

TITLE = "Fairness, measured"
PROMPT, NEW = 40, 24
RUNNING = 8
WEIGHTS = {"light": 1.0, "heavy": 3.0}
"""Projects and their weights; the burst and the single requests are of two more, each of weight 1."""
PROJECTS = {"burst": 1.0, "single": 1.0} | WEIGHTS


async def measure(bench: Bench) -> dict[str, Any]:
    """A burst of one project beside single requests of another; then two projects with more than they get."""
    keys = tenants.make(PROJECTS)
    server = bench.server(TENANTS)
    prompts = await bench.prompts(server)
    of = {name: dataclasses.replace(server.address, key=key) for name, key in keys.items()}
    await asyncio.gather(*(ask(of["burst"], prompts.body(PROMPT, NEW)) for _ in range(RUNNING)))  # warm up
    moments = random.Random(bench.seed)
    idle = [await _probe(of["single"], prompts, moments) for _ in range(bench.scale.probes)]
    return {
        "prompt": PROMPT,
        "new": NEW,
        "running": RUNNING,
        "burst": bench.scale.burst,
        "idle": _spread(idle),
        "beside": await _beside_a_burst(bench, of, prompts, moments),
        "weights": await _weights(bench, of, prompts),
    }


async def _probe(address: Address, prompts: Prompts, moments: random.Random) -> float:
    """TTFT of one request at a random moment, in milliseconds."""
    await asyncio.sleep(moments.uniform(0, 0.2))
    return 1000 * (await ask(address, prompts.body(PROMPT, 1))).ttft


async def _beside_a_burst(
    bench: Bench, of: dict[str, Address], prompts: Prompts, moments: random.Random
) -> dict[str, Any]:
    streams = [await start(of["burst"], prompts.body(PROMPT, NEW)) for _ in range(bench.scale.burst)]
    await streams[0].begun
    found = []
    while not all(stream.ended.done() for stream in streams) and len(found) < 10 * bench.scale.probes:
        found.append(await _probe(of["single"], prompts, moments))
    replies = [await stream.reply() for stream in streams]
    firsts = [1000 * reply.ttft for reply in replies]
    spread = _spread(found[:-1] or found)  # the last one may have come when all was over
    whole = max(reply.ended_at for reply in replies) - replies[0].began
    return spread | {"burst_seconds": whole, "burst_ttft_p50_ms": float(np.median(firsts))}


async def _weights(bench: Bench, of: dict[str, Address], prompts: Prompts) -> dict[str, Any]:
    """Both send more than fits at the same moment; counted until the first of them has all its answers."""
    each = bench.scale.burst // 2
    streams: dict[str, list[Any]] = {name: [] for name in WEIGHTS}
    for _ in range(each):
        for name in WEIGHTS:
            streams[name].append(await start(of[name], prompts.body(PROMPT, NEW)))
    replies = {name: [await stream.reply() for stream in found] for name, found in streams.items()}
    until = min(max(reply.ended_at for reply in found) for found in replies.values())
    made = {name: _tokens_until(found, until) for name, found in replies.items()}
    share = made["heavy"] / sum(made.values())
    return {
        "each": each,
        "tokens": made,
        "heavy_share": share,
        "expected": WEIGHTS["heavy"] / sum(WEIGHTS.values()),
    }


def _tokens_until(replies: list[Reply], until: float) -> int:
    """Tokens of answers that had ended by then."""
    return sum(reply.tokens for reply in replies if reply.ended_at <= until)


def _spread(milliseconds: list[float]) -> dict[str, float]:
    shares = {f"p{share}_ms": float(np.percentile(milliseconds, share)) for share in (50, 95)}
    return shares | {"requests": len(milliseconds)}


def tables(data: dict[str, Any]) -> str:
    """The single requests, then the weights."""
    idle, beside, weights = data["idle"], data["beside"], data["weights"]
    burst = f"while another project's {data['burst']} requests are served"
    rows = [
        (name, row["requests"], number(row["p50_ms"]), number(row["p95_ms"]))
        for name, row in (("nothing else", idle), (burst, beside))
    ]
    rows.append(("(the burst itself)", data["burst"], number(beside["burst_ttft_p50_ms"]), "-"))
    head = ("TTFT of single requests", "requests", "p50 ms", "p95")
    about = (
        f"{data['prompt']} prompt tokens, {data['new']} new ones (1 of a single request),"
        f" {data['running']} running at once.\n\n"
    )
    shares = (
        f"\nProjects of weight 1 and 3, {weights['each']} requests each at the same moment: until the first is done, the heavier"
        f" one has {percent(weights['heavy_share'])} of the tokens, {percent(weights['expected'])} being its share.\n"
    )
    took = f"\nThe burst takes {number(beside['burst_seconds'])} s: so long would a single request wait in a single queue.\n"
    return about + table(head, rows) + took + shares
