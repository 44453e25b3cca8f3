"""How long a replica's step takes: measured for our engine on two cores, assumed for a GPU."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
ENGINE = "Chatwright, speculation off"


@dataclass(frozen=True)
class Profile:
    """A step takes `fixed` + `row` for each decoding sequence + `token` for each prompt token in it, in seconds.

    `chunk` prompt tokens at most join a step; `slots` sequences run at once and `waiting` may wait; `kv_tokens` is room for
    running sequences, `cache_tokens` for prefixes of earlier ones; `start` is seconds until a new replica serves.
    """

    name: str
    origin: str
    fixed: float
    row: float
    token: float
    chunk: int
    slots: int
    waiting: int
    kv_tokens: int
    cache_tokens: int
    start: float

    def step(self, rows: int, prompt_tokens: float) -> float:
        """Seconds of one step."""
        return self.fixed + self.row * rows + self.token * prompt_tokens

    def capacity(self, fresh_prompt: float, output: float, tokens_held: float) -> float:
        """Requests a second that can be served without end: all slots busy, or all memory."""
        rows = min(self.slots, self.kv_tokens / tokens_held)
        steps = max(output / rows, fresh_prompt / self.chunk)
        return 1 / (fresh_prompt * self.token + output * self.row + steps * self.fixed)


def measured(results: Path = RESULTS) -> Profile:
    """Our native engine over HTTP: gaps between tokens at 1 and 32 streams, first tokens of 130 and 512."""
    throughput = _data(results, "throughput")
    first = _data(results, "first_token")
    streams, prompt = throughput["streams"], throughput["prompt"]
    one, many = throughput["one"][ENGINE], throughput["many"][ENGINE]
    row = (many["itl_p50_ms"] - one["itl_p50_ms"]) / (streams - 1) / 1e3
    long_ms = first["idle"]["Chatwright"]["fresh_ms"]
    token = (long_ms - one["ttft_p50_ms"]) / (first["long_prompt"] - prompt) / 1e3
    return Profile(
        name="native engine, two cores",
        origin="measured here (results/throughput.json, results/first_token.json)",
        fixed=one["itl_p50_ms"] / 1e3 - row,
        row=row,
        token=token,
        chunk=64,
        slots=64,
        waiting=256,
        kv_tokens=64 * 1024,
        cache_tokens=32 * 1024,
        start=4.0,
    )


def predicted_tokens_per_s(profile: Profile, streams: int, prompt: int, new: int) -> float:
    """What the calibrated model says of a measured scenario: all prompts first, then all decode."""
    prefill = streams * prompt * (profile.token + profile.fixed / profile.chunk)
    return streams * new / (prefill + new * profile.step(streams, 0))


def published(efficiency: float = 0.5) -> Profile:
    """A roofline, not a measurement: 8 billion bf16 weights on one H100 SXM, whose data sheet says 3.35 TB/s, 989 dense
    bf16 TFLOP/s and 80 GB; `efficiency` of either is assumed. A token's keys and values take 131,072 bytes
    (32 layers, 8 KV heads of 128, bf16); a sequence is taken to hold 1,000 tokens.
    """
    weights, bandwidth, compute, kv = 16e9, 3.35e12 * efficiency, 989e12 * efficiency, 131_072
    room = int((80e9 * 0.9 - weights) / kv)
    return Profile(
        name="one H100, 8 B parameters",
        origin=f"published peak figures at an assumed {efficiency:.0%}; not measured",
        fixed=weights / bandwidth,
        row=1000 * kv / bandwidth + 2 * 8e9 / compute,
        token=2 * 8e9 / compute,
        chunk=512,
        slots=256,
        waiting=512,
        kv_tokens=room // 2,
        cache_tokens=room // 2,
        start=120.0,
    )


def _data(results: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((results / f"{name}.json").read_text())["data"]
    return found
