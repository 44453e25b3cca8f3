"""Choosing among thousands of replicas in constant time, by the rules of `engines/replicas/routing.py`.

The package's router weighs every replica of its set for each request: exact, and linear (see `shared.py` for its price).
A fleet this size is cut into cells or sampled; the bounds are imported, so the two can't drift apart.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from benchmarks.scale.workload import Request
from chatwright.core.generation import GenerationRequest
from chatwright.core.sampling import SamplingParams
from chatwright.engines.replicas.routing import HEADROOM, SLACK_REQUESTS, CacheAwareRouter, Load

_MASK = (1 << 64) - 1


class Router(Protocol):
    """Picks one of the first `count` of `loads`; `total` is the sum of those loads."""

    def choose(self, request: Request, loads: Sequence[int], count: int, total: int) -> int:
        """The replica's number."""


def mixed(key: int, salt: int) -> int:
    """64 well-mixed bits of a key (the finaliser of SplitMix64: Steele, Lea and Flood 2014)."""
    z = (key * 0x9E3779B97F4A7C15 + salt * 0xD1B54A32D192ED03 + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


class Random:
    """Any."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def choose(self, request: Request, loads: Sequence[int], count: int, total: int) -> int:
        """See `Router.choose`."""
        return int(self._random.random() * count)


class TwoChoices:
    """The less loaded of two at random (Mitzenmacher 2001)."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def choose(self, request: Request, loads: Sequence[int], count: int, total: int) -> int:
        """See `Router.choose`."""
        one, other = int(self._random.random() * count), int(self._random.random() * count)
        return one if loads[one] <= loads[other] else other


class LeastLoaded:
    """The least loaded of all: what everybody wants to do with old figures."""

    def choose(self, request: Request, loads: Sequence[int], count: int, total: int) -> int:
        """See `Router.choose`."""
        return min(range(count), key=loads.__getitem__)


class BoundedOwner:
    """The first in the key's own order of replicas that is within bounds: a hot key spills to as many as it needs, always the
    same ones (Mirrokni, Thorup and Zadimoghaddam 2016). `most` is the number of replicas there can ever be.
    """

    def __init__(self, most: int, tries: int = 24) -> None:
        self._most = most
        self._tries = tries

    def choose(self, request: Request, loads: Sequence[int], count: int, total: int) -> int:
        """See `Router.choose`. After `tries` the least loaded that was seen."""
        bound = HEADROOM * total / count + SLACK_REQUESTS
        best = -1
        seen = salt = 0
        while seen < self._tries:
            place = mixed(request.key, salt) % self._most
            salt += 1
            if place >= count:
                continue
            if loads[place] <= bound:
                return place
            if best < 0 or loads[place] < loads[best]:
                best = place
            seen += 1
        return best


class Packaged:
    """The package's own router, asked by affinity: a conversation for each key. Exact, and linear in the replicas."""

    def __init__(self) -> None:
        self._router = CacheAwareRouter()
        self._sampling = SamplingParams(max_tokens=1, seed=0)

    def choose(self, request: Request, loads: Sequence[int], count: int, total: int) -> int:
        """See `Router.choose`. All prompts count as equally long."""
        asked = GenerationRequest("", (), self._sampling, reservation=1, affinity=str(request.key))
        weighed = {str(place): Load(load, 320 * load) for place, load in enumerate(loads[:count])}
        return int(self._router.choose(asked, weighed))


class Cells:
    """A key belongs to a cell; a router of its own chooses in there. `spread` lets a hot key use so many cells."""

    def __init__(self, inner: Sequence[Router], size: int, *, spread: int = 1, hot: int = 0) -> None:
        """Keys below `hot`, which are the most used, are those that are spread."""
        self._inner = inner
        self._size = size
        self._spread = spread
        self._hot = hot
        self._turn = 0

    def choose(self, request: Request, loads: Sequence[int], count: int, total: int) -> int:
        """See `Router.choose`."""
        turn = 0
        if request.key < self._hot:
            self._turn += 1
            turn = self._turn % self._spread
        cell = mixed(request.key, 77 + turn) % len(self._inner)
        begin = cell * self._size
        own = loads[begin : begin + self._size]
        return begin + self._inner[cell].choose(request, own, self._size, sum(own))
