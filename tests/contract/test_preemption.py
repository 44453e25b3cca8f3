"""A seed outlives preemption and a restart: where blocks run out, a client sees a pause, nothing else."""

from __future__ import annotations

import asyncio
import json
import re

import httpx
import pytest

from chatwright.models.catalog import DEFAULT_SLUG

KEYS = ("one", "two")
SMALL = json.dumps(
    [{"model": DEFAULT_SLUG, "engine": "native", "context_length": 512, "kv_cache_gib": 0.015}]
)
"""About 41 blocks of 32 tokens: five of the requests below at once."""


def body(number: int) -> dict:
    sampling = {"temperature": 0} if number % 3 == 0 else {"temperature": 1, "frequency_penalty": 0.3}
    return {
        "model": DEFAULT_SLUG,
        "messages": [{"role": "user", "content": f"Tell me {number} things about the sea and its storms."}],
        "max_tokens": 200,
        "min_tokens": 190,
        "seed": number,
        "stream": True,
        "logprobs": True,
        **sampling,
    }


async def streamed(client: httpx.AsyncClient, number: int, key: str, begun: asyncio.Event) -> tuple:
    """Text, logprobs and ending of one stream; `begun` is set with its first token."""
    text, entries, endings = "", [], []
    headers = {"authorization": f"Bearer {key}"}
    async with client.stream("POST", "/v1/chat/completions", json=body(number), headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            choice = json.loads(line.removeprefix("data: "))["choices"][0]
            begun.set()
            text += choice["delta"].get("content") or ""
            entries += (choice["logprobs"] or {}).get("content", [])
            endings += [choice["finish_reason"]] if choice["finish_reason"] else []
    return text, entries, endings


async def together(client: httpx.AsyncClient) -> list[tuple]:
    """The first key takes all blocks; then the second one asks for its share."""
    begun = [asyncio.Event() for _ in range(8)]
    first = [asyncio.create_task(streamed(client, n, KEYS[0], begun[n])) for n in range(6)]
    await asyncio.gather(*(event.wait() for event in begun[:5]))
    second = [asyncio.create_task(streamed(client, n, KEYS[1], begun[n])) for n in (6, 7)]
    return list(await asyncio.gather(*first, *second))


def preemptions(text: str) -> float:
    found = re.search(r"^chatwright:num_preemptions_total\{.*\} ([0-9.]+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


@pytest.mark.proves("seed")
@pytest.mark.slow
async def test_preempted_answers_equal_those_of_another_start_alone(new_home, start_server) -> None:
    home, env = new_home(), {"CHATWRIGHT_MODELS": SMALL, "CHATWRIGHT_API_KEYS": ",".join(KEYS)}
    env["CHATWRIGHT_METRICS_OPEN"] = "true"
    with start_server(home, **env) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=100) as client:
            crowded = await together(client)
            metrics = await client.get("/metrics")
    assert preemptions(metrics.text) > 0
    with start_server(home, **env) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=100) as client:
            alone = [await streamed(client, number, KEYS[0], asyncio.Event()) for number in range(8)]
    assert crowded == alone
    assert {ending for _, _, endings in alone for ending in endings} <= {"length", "stop"}
    assert all(len(entries) >= 190 for _, entries, _ in alone)
