"""What was aimed for, and whether the stored results reach it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.bench import GENAI, LLAMACPP, NATIVE, OURS, PLAIN, VLLM
from benchmarks.scenarios.overload import kept
from benchmarks.tables import number, percent

Results = dict[str, Any]


class Goal(NamedTuple):
    """`value` may raise KeyError: not measured. `at_least` tells which side of `aim` is good."""

    name: str
    aim: float
    at_least: bool
    value: Callable[[Results], float]
    show: Callable[[float], str] = number


def _speed(results: Results, key: str, peer: str) -> float:
    return float(results["throughput"][key][peer]["tokens_per_s"])


def _beside_vllm(results: Results) -> float:
    rows = results["beside_vllm"]["throughput"]["many"]
    return float(rows[PLAIN]["tokens_per_s"] / rows[VLLM]["tokens_per_s"])


def _decode(results: Results, peer: str) -> float:
    return float(results["engines"]["decode"][peer]["32"])


def _first(results: Results, peer: str, key: str) -> float:
    return float(results["first_token"]["idle"][peer][key])


def _loaded(results: Results, peer: str) -> float:
    return float(results["first_token"]["loaded"][peer]["p95_ms"])


def _repeating(results: Results, peer: str) -> float:
    return float(results["speculation"]["peers"][peer]["decode_tokens_per_s"])


def _constrained(results: Results) -> float:
    peers = results["constrained"]["peers"]
    return float(peers[f"{PLAIN}: constrained"]["tokens_per_s"] / peers[f"{PLAIN}: free"]["tokens_per_s"])


def _own_share(results: Results, kind: str) -> float:
    return float(results["engines"]["own_share"][NATIVE][kind])


def _flooded(results: Results) -> dict[str, float]:
    """The row of the highest load."""
    return dict(results["overload"]["loads"]["5"])


GOALS = (
    Goal(
        "32 streams over HTTP, times llama.cpp's server",
        5,
        True,
        lambda r: _speed(r, "many", PLAIN) / _speed(r, "many", LLAMACPP),
    ),
    Goal("32 streams over HTTP, times vLLM on the CPU", 2.5, True, _beside_vllm),
    Goal(
        "decode of 32 streams without HTTP, times OpenVINO GenAI",
        1.2,
        True,
        lambda r: _decode(r, NATIVE) / _decode(r, GENAI),
    ),
    Goal("decode of 32 streams without HTTP, tokens/s", 1300, True, lambda r: _decode(r, NATIVE)),
    Goal(
        "1 stream over HTTP without speculation, times llama.cpp's server",
        1.5,
        True,
        lambda r: _speed(r, "one", PLAIN) / _speed(r, "one", LLAMACPP),
    ),
    Goal("1 stream over HTTP without speculation, tokens/s", 200, True, lambda r: _speed(r, "one", PLAIN)),
    Goal(
        "text that repeats, speculation on to off",
        1,
        True,
        lambda r: _repeating(r, OURS) / _repeating(r, PLAIN),
    ),
    Goal(
        "TTFT of 512 tokens at idle, part of llama.cpp's",
        1 / 4,
        False,
        lambda r: _first(r, OURS, "fresh_ms") / _first(r, LLAMACPP, "fresh_ms"),
    ),
    Goal(
        "TTFT of 512 cached tokens, part of uncached",
        1 / 5,
        False,
        lambda r: _first(r, OURS, "cached_ms") / _first(r, OURS, "fresh_ms"),
    ),
    Goal(
        "TTFT p95 beside 32 streams, part of llama.cpp's",
        1 / 10,
        False,
        lambda r: _loaded(r, OURS) / _loaded(r, LLAMACPP),
    ),
    Goal(
        "sampling and bookkeeping in a step of 32, default parameters",
        0.05,
        False,
        lambda r: _own_share(r, "defaults"),
        percent,
    ),
    Goal("the same with every parameter on", 0.15, False, lambda r: _own_share(r, "everything"), percent),
    Goal("HTTP and SSE at 32 streams", 0.1, False, lambda r: r["throughput"]["http_share"], percent),
    Goal("constrained to unconstrained at 32 streams", 0.9, True, _constrained, percent),
    Goal(
        "gaps of 8 streams while 8,000 tokens enter, p99 to idle p50",
        3,
        False,
        lambda r: r["long_prefill"]["peers"][PLAIN]["ratio_p99"],
    ),
    Goal(
        "tokens/s of two replicas, times one's (simulated kernels)",
        1.9,
        True,
        lambda r: r["routing"]["throughput"]["2"] / r["routing"]["throughput"]["1"],
    ),
    Goal(
        "goodput at five times the sustainable load, to its best",
        0.9,
        True,
        lambda r: kept(r["overload"]),
        percent,
    ),
    Goal(
        "refusals at that load, p99 in milliseconds",
        20,
        False,
        lambda r: float(_flooded(r)["refusal_p99_ms"]),
    ),
    Goal(
        "answers at that load within their limit",
        0.99,
        True,
        lambda r: float(_flooded(r)["in_time"]),
        percent,
    ),
    Goal(
        "tokens of a project of weight 3 beside one of weight 1",
        0.7,
        True,
        lambda r: float(r["fairness"]["weights"]["heavy_share"]),
        percent,
    ),
    Goal(
        "start to first token, seconds",
        4,
        False,
        lambda r: float(np.median(r["startup"]["first_token_s"])),
    ),
    Goal(
        "a billion weights, 32 streams, times llama.cpp's server",
        5,
        True,
        lambda r: (
            r["billion"]["many"][PLAIN]["tokens_per_s"] / r["billion"]["many"][LLAMACPP]["tokens_per_s"]
        ),
    ),
    Goal(
        "a billion weights, 1 stream, times llama.cpp's server",
        1.5,
        True,
        lambda r: r["billion"]["one"][PLAIN]["tokens_per_s"] / r["billion"]["one"][LLAMACPP]["tokens_per_s"],
    ),
)


def rows(results: Results) -> list[tuple[str, str, str, str]]:
    """A line a goal: name, aim, measured, met."""
    found = []
    for goal in GOALS:
        aim = f"{'at least' if goal.at_least else 'at most'} {goal.show(goal.aim)}"
        try:
            value = goal.value(results)
        except KeyError:
            found.append((goal.name, aim, "not measured", "-"))
            continue
        met = value >= goal.aim if goal.at_least else value <= goal.aim
        found.append((goal.name, aim, goal.show(value), "yes" if met else "no"))
    return found
