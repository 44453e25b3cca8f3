"""What comes of more requests than a server can answer: at once, twice and five times what it sustains."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, NamedTuple

import numpy as np

from benchmarks.bench import BOUNDED, Bench
from benchmarks.client import Address, Stream, StreamError, start
from benchmarks.prompts import Prompts
from benchmarks.tables import number, percent, table

TITLE = "Overload, measured"
LOADS = (1, 2, 5)
PROMPT, NEW = 40, 24
RUNNING = WAITING = 8
SLO_FACTOR = 3.0
"""An answer counts where it took at most this many times the median of a full server without a queue."""


class Outcome(NamedTuple):
    """One request. Seconds: `first` to its first byte, `whole` to its end; `at` when it was sent."""

    at: float
    status: int
    first: float
    whole: float


async def measure(bench: Bench) -> dict[str, Any]:
    """Closed loop first, for what is sustained; then open loop: arrivals (Poisson) that wait for nobody, no retries."""
    server = bench.server(BOUNDED)
    prompts = await bench.prompts(server)
    seconds = bench.scale.seconds
    await _closed_loop(server.address, prompts, seconds / 4)  # warm up
    calm = await _closed_loop(server.address, prompts, seconds)
    sustained = len(calm) / (max(one.at + one.whole for one in calm) - min(one.at for one in calm))
    slo = SLO_FACTOR * float(np.median([one.whole for one in calm]))
    found: dict[str, Any] = {
        "seconds": seconds,
        "prompt": PROMPT,
        "new": NEW,
        "running": RUNNING,
        "waiting": WAITING,
        "sustained_per_s": sustained,
        "calm_p50_ms": 1000 * slo / SLO_FACTOR,
        "slo_ms": 1000 * slo,
        "loads": {},
    }
    for times in LOADS:
        arrivals = random.Random(bench.seed + times)
        outcomes = await _open_loop(server.address, prompts, times * sustained, seconds, arrivals)
        found["loads"][str(times)] = figures(outcomes, times * sustained, slo)
        await asyncio.sleep(1)
    return found


async def _closed_loop(address: Address, prompts: Prompts, seconds: float) -> list[Outcome]:
    """As many clients as may run, each with its next request once it has its answer."""
    until = time.perf_counter() + seconds

    async def client() -> list[Outcome]:
        outcomes = []
        while time.perf_counter() < until:
            outcomes.append(await _outcome(await start(address, prompts.body(PROMPT, NEW))))
        return outcomes

    found = await asyncio.gather(*(client() for _ in range(RUNNING)))
    return [one for outcomes in found for one in outcomes if one.status == 200]


async def _open_loop(
    address: Address, prompts: Prompts, rate: float, seconds: float, arrivals: random.Random
) -> list[Outcome]:
    bodies = [prompts.body(PROMPT, NEW) for _ in range(int(2 * rate * seconds) + 20)]
    began, due, waiting = time.perf_counter(), 0.0, []
    for body in bodies:
        due += arrivals.expovariate(rate)
        if due > seconds:
            break
        await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
        waiting.append(asyncio.create_task(_outcome(await start(address, body))))
    return list(await asyncio.gather(*waiting))


async def _outcome(stream: Stream) -> Outcome:
    """A refusal that came after the status line, as an error event, is a refusal too."""
    reply = await stream.reply()
    if not reply.reads:
        return Outcome(reply.began, 0, 0.0, 0.0)
    status, whole = int(reply.reads[0][1][9:12]), reply.reads[-1][0] - reply.began
    if status == 200:
        try:
            return Outcome(reply.began, 200, reply.ttft, reply.ended_at - reply.began)
        except StreamError as error:
            status = 503 if "overloaded" in str(error) else 500
    return Outcome(reply.began, status, whole, whole)


def figures(outcomes: list[Outcome], offered: float, slo: float) -> dict[str, float]:
    """Of one load. Rates are over the time from the first request to the last answer; milliseconds for the rest."""
    answered = [one for one in outcomes if one.status == 200]
    refused = [1000 * one.whole for one in outcomes if one.status in (429, 503)]
    firsts, wholes = [1000 * one.first for one in answered], [1000 * one.whole for one in answered]
    in_time = sum(one.whole <= slo for one in answered)
    seconds = max(one.at + one.whole for one in outcomes) - min(one.at for one in outcomes)
    return {
        "offered_per_s": offered,
        "sent": len(outcomes),
        "answered_per_s": len(answered) / seconds,
        "goodput_per_s": in_time / seconds,
        "in_time": in_time / max(1, len(answered)),
        "refused": len(refused),
        "failed": len(outcomes) - len(answered) - len(refused),
        **_percentiles("ttft", firsts),
        **_percentiles("answer", wholes),
        **_percentiles("refusal", refused),
    }


def _percentiles(name: str, values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    return {f"{name}_p{share}_ms": float(np.percentile(values, share)) for share in (50, 99)}


def kept(data: dict[str, Any]) -> float:
    """Goodput at the highest load, as a part of the best."""
    goodput = {int(times): row["goodput_per_s"] for times, row in data["loads"].items()}
    return float(goodput[max(goodput)] / max(goodput.values()))


def tables(data: dict[str, Any]) -> str:
    """One row a load."""
    head = (
        "offered a second",
        *("sent", "answered a second", "within the limit a second", "of those let in"),
        *("TTFT p50 ms", "p99", "answer p50 ms", "p99", "refused", "refused within p50 ms", "p99", "failed"),
    )
    names = ("ttft_p50_ms", "ttft_p99_ms", "answer_p50_ms", "answer_p99_ms")
    rows = []
    for times, row in data["loads"].items():
        rates = (number(row["answered_per_s"]), number(row["goodput_per_s"]), percent(row["in_time"]))
        refusals = (row["refused"], number(row.get("refusal_p50_ms")), number(row.get("refusal_p99_ms")))
        latencies = (number(row.get(name)) for name in names)
        offered = f"{times}x: {number(row['offered_per_s'])}"
        rows.append((offered, row["sent"], *rates, *latencies, *refusals, row["failed"]))
    about = (
        f"{data['prompt']} prompt tokens, {data['new']} new ones, {data['running']} running and {data['waiting']} waiting"
        f" requests allowed; the clients share the machine. {data['running']} clients in a closed loop get"
        f" {number(data['sustained_per_s'])} answers a second, each within {number(data['calm_p50_ms'])} ms (p50): that is 1x."
        f" Then requests come at random for {number(data['seconds'])} s a load, wait for nobody and are never repeated; an answer"
        f" within {number(data['slo_ms'])} ms is in time.\n\n"
    )
    return (
        about + table(head, rows) + f"\nAt the highest load goodput is {percent(kept(data))} of its best.\n"
    )
