"""Requests that come in: Poisson arrivals whose rate varies, keys by Zipf's law, log-normal lengths."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

Rate = Callable[[np.ndarray], np.ndarray]
"""Requests a second at times in seconds."""


class Request:
    """One request on its way; times in seconds, None until they come. `shared` of its prompt's tokens begin all prompts of its
    key; `cached` of them needn't be computed.
    """

    __slots__ = ("arrived", "cached", "finished", "first", "key", "output", "prompt", "shared", "started")

    def __init__(self, arrived: float, key: int, prompt: float, shared: float, output: float) -> None:
        self.arrived = arrived
        self.key = key
        self.prompt = prompt
        self.shared = shared
        self.output = output
        self.cached = 0.0
        self.started: float | None = None
        self.first: float | None = None
        self.finished: float | None = None


@dataclass(frozen=True)
class Lengths:
    """Means of tokens. Outputs and fresh parts of prompts are log-normal with this sigma, cut at eight times the mean."""

    shared: float = 192
    fresh: float = 128
    output: float = 128
    sigma: float = 0.8

    def draw(self, rng: np.random.Generator, mean: float, count: int) -> np.ndarray:
        """Whole tokens, at least 1."""
        drawn = rng.lognormal(math.log(mean) - self.sigma**2 / 2, self.sigma, count)
        return np.clip(np.rint(drawn), 1, 8 * mean)


def constant(rate: float) -> Rate:
    """The same all the time."""
    return lambda times: np.full_like(times, rate)


def bursty(rate: float, begin: float, seconds: float, factor: float) -> Rate:
    """`factor` times the rate from `begin` on."""
    return lambda times: np.where((times >= begin) & (times < begin + seconds), rate * factor, rate)


def diurnal(mean: float, day: float, swing: float = 0.6) -> Rate:
    """A day's wave from 1 - `swing` to 1 + `swing` times the mean, lowest at its beginning."""
    return lambda times: mean * (1 - swing * np.cos(2 * np.pi * times / day))


def zipf(rng: np.random.Generator, keys: int, exponent: float, count: int) -> np.ndarray:
    """Ranks from 0, rank r with weight about (r + 1)^-exponent: the continuous law, inverted."""
    uniform = rng.random(count)
    if abs(exponent - 1) < 1e-9:
        ranks = np.exp(uniform * math.log(keys + 1))
    else:
        power = 1 - exponent
        ranks = (uniform * ((keys + 1) ** power - 1) + 1) ** (1 / power)
    return np.minimum(ranks.astype(np.int64) - 1, keys - 1)


@dataclass(frozen=True)
class Workload:
    """What to generate. `peak` bounds `rate`."""

    rate: Rate
    peak: float
    seconds: float
    keys: int = 5_000_000
    exponent: float = 0.9
    lengths: Lengths = Lengths()

    def requests(self, rng: np.random.Generator, chunk: int = 65_536) -> Iterator[Request]:
        """In the order of arrival. Thinning (Lewis and Shedler 1979)."""
        now = 0.0
        while now < self.seconds:
            times = now + np.cumsum(rng.exponential(1 / self.peak, chunk))
            now = float(times[-1])
            times = times[(rng.random(chunk) * self.peak < self.rate(times)) & (times < self.seconds)]
            count = len(times)
            keys = zipf(rng, self.keys, self.exponent, count)
            fresh = (
                self.lengths.draw(rng, self.lengths.fresh, count) if self.lengths.fresh else np.zeros(count)
            )
            output = self.lengths.draw(rng, self.lengths.output, count)
            shared = self.lengths.shared
            for at, key, own, out in zip(
                times.tolist(), keys.tolist(), fresh.tolist(), output.tolist(), strict=True
            ):
                yield Request(at, key, shared + own, shared, out)
