"""What the state that a fleet shares can bear, measured with the package's own code on this machine.

    python -m benchmarks.scale.shared [--redis URL] [--postgresql URL]     # writes results/scale_shared.json

A server that isn't given is not measured. Clients and servers share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.scale.profile import RESULTS
from chatwright.accounts.authentication import Authenticator
from chatwright.accounts.buckets import Charge
from chatwright.accounts.keys import Keys, KeySettings
from chatwright.accounts.ledger import Ledger, Opening
from chatwright.accounts.migrate import migrate
from chatwright.accounts.redis_buckets import RedisBuckets
from chatwright.accounts.store import Store
from chatwright.core.generation import GenerationRequest
from chatwright.core.sampling import SamplingParams
from chatwright.core.usage import Usage
from chatwright.engines.replicas.prefix_index import PrefixIndex, prompt_chain
from chatwright.engines.replicas.routing import CacheAwareRouter, Load
from chatwright.telemetry.counts import Counts, KeyCounts
from chatwright.telemetry.exposition import Exposition

STORED = RESULTS / "scale_shared.json"
SECONDS = 3.0
TASKS = 64
PEPPER = b"p" * 32


async def per_second(once: Callable[[int], Awaitable[object]], tasks: int = TASKS) -> float:
    """Calls a second by so many tasks at once."""
    numbers = itertools.count()
    end = time.perf_counter() + SECONDS
    done = 0

    async def work() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await once(next(numbers))
            done += 1

    begun = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(tasks)))
    return done / (time.perf_counter() - begun)


async def limiter(url: str) -> dict[str, float]:
    """Requests a second through one Redis: taken with four charges, given back with one."""
    buckets = RedisBuckets.connect(url)

    async def once(number: int) -> None:
        key, project = f"key:{number % 5000}", f"project:{number % 500}"
        charges = [
            Charge(key, "requests", 10**9, 1),
            Charge(key, "tokens", 10**9, 500),
            Charge(key, "concurrency", 10**6, 1),
            Charge(project, "tokens", 10**9, 500),
        ]
        await buckets.take(str(number), charges)
        await buckets.give_back(str(number), charges[1:])

    rate = await per_second(once)
    used = await buckets._client.info("memory")
    await buckets.close()
    return {"requests_per_s": rate, "server_mib": used["used_memory"] / 2**20}


async def ledger(url: str) -> dict[str, float]:
    """Requests a second whose rows are opened and closed by one process, and keys looked up a second."""
    store = Store(url)
    migrate(store)
    book = Ledger(store)
    book.start()
    issued = [Keys(store, PEPPER).create(KeySettings(f"k{n}")) for n in range(200)]

    async def once(number: int) -> None:
        key = issued[number % len(issued)].key
        entry = book.open(Opening(f"r{number}", key.id, "default", "m", reserved_tokens=500))
        await entry.recorded()
        entry.close("finished", Usage(320, 128), 0, "stop")
        await entry.closed()

    rows = await per_second(once)
    keys = Authenticator(store, PEPPER)
    looked_up = await per_second(lambda number: keys.authenticate(issued[number % len(issued)].secret), 16)
    await asyncio.to_thread(book.close)
    store.close()
    return {"requests_per_s": rows, "keys_per_s": looked_up}


def router(replicas: int, prompt: int = 512) -> dict[str, float]:
    """Microseconds of a decision of the package's router over so many replicas, and its memory of prefixes."""
    index = PrefixIndex()
    chooser = CacheAwareRouter(index)
    loads = {f"replica-{n}": Load(n % 7, 400 * (n % 7)) for n in range(replicas)}
    rng = random.Random(1)
    begins = [tuple(rng.randrange(49152) for _ in range(prompt)) for _ in range(50)]
    sampling = SamplingParams(max_tokens=16, seed=1)

    def request(number: int) -> GenerationRequest:
        return GenerationRequest(str(number), begins[number % len(begins)], sampling, reservation=600)

    count = max(20, 4000 // replicas)
    begun = time.perf_counter()
    for number in range(count):
        asked = request(number)
        chooser.sent(asked, chooser.choose(asked, loads))
    return {"replicas": replicas, "us": (time.perf_counter() - begun) / count * 1e6}


def index_bytes(blocks: int = 16_384) -> float:
    """Bytes of a router's memory for each block of a prefix."""
    chains = [
        prompt_chain(
            GenerationRequest(
                str(n), tuple(range(n, n + 2048)), SamplingParams(max_tokens=1, seed=1), reservation=1
            )
        )
        for n in range(blocks // 64)
    ]
    index = PrefixIndex(blocks)
    for chain in chains:
        index.add("r", chain)
    known = index._blocks["r"]
    return (sys.getsizeof(known) + sum(map(sys.getsizeof, known))) / len(known)


def metrics(keys: int) -> dict[str, float]:
    """A scrape with so many keys as labels, of which the package itself allows 1000: bytes and milliseconds."""
    counts = Counts(keys={f"key_{number:012x}": KeyCounts(10, 3200, 1280) for number in range(keys)})
    begun = time.perf_counter()
    body, _ = Exposition(counts, {}, {}).encode("text/plain")
    return {"keys": keys, "bytes": len(body), "ms": (time.perf_counter() - begun) * 1e3}


async def measure(redis: str | None, postgresql: str | None) -> dict[str, Any]:
    """Everything that is there to be measured."""
    data: dict[str, Any] = {}
    if redis is not None:
        data["limiter_redis"] = await limiter(redis)
    with tempfile.TemporaryDirectory() as folder:
        data["ledger_sqlite"] = await ledger(f"sqlite:///{Path(folder)}/scale.db")
    if postgresql is not None:
        data["ledger_postgresql"] = await ledger(postgresql)
    data["router"] = [router(replicas) for replicas in (8, 64, 512)]
    data["metrics"] = [metrics(keys) for keys in (1000, 100_000)]
    data["index_bytes_per_block"] = index_bytes()
    return data


def main() -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis")
    parser.add_argument("--postgresql")
    asked = parser.parse_args()
    machine = {**describe(), "command": "python -m benchmarks.scale.shared --redis ... --postgresql ..."}
    data = asyncio.run(measure(asked.redis, asked.postgresql))
    STORED.write_text(
        json.dumps({"scenario": "scale_shared", "machine": machine, "data": data}, indent=1) + "\n"
    )
    print(json.dumps(data, indent=1))


if __name__ == "__main__":
    main()
