"""Many clients at once: no token is mixed up or lost."""

from __future__ import annotations

import asyncio
import json
import random

import httpx
import pytest

CLIENTS = 32
WORDS = [
    "sea",
    "moon",
    "stone",
    "river",
    "bread",
    "winter",
    "cat",
    "engine",
    "blue",
    "music",
    "paper",
    "king",
]


def requests(seed):
    """Prompts of different lengths, some greedy, most sampled, with every shape of ending."""
    rng = random.Random(seed)
    made = []
    for number in range(CLIENTS):
        words = " ".join(rng.choices(WORDS, k=rng.randint(1, 40)))
        made.append(
            {
                "messages": [{"role": "user", "content": f"Write about: {words}."}],
                "temperature": rng.choice([0, 0.7, 1.0, 1.5]),
                "top_p": rng.choice([1, 0.9]),
                "top_k": rng.choice([-1, 50, 5]),
                "seed": number,
                "max_tokens": rng.randint(3, 10),
                "frequency_penalty": rng.choice([0, 0.5]),
                "stop": rng.choice([[], ["the"], [". "]]),
                "logprobs": True,
                "top_logprobs": 2,
                "ignore_eos": True,
            }
        )
    return made


async def streamed(client, body):
    """Text, logprobs and ending of one stream."""
    text, entries, endings = "", [], []
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.status_code == 200, await response.aread()
        lines = [line async for line in response.aiter_lines() if line.startswith("data: ")]
    assert lines.pop() == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert len({chunk["id"] for chunk in chunks}) == 1
    for choice in (chunk["choices"][0] for chunk in chunks if chunk["choices"]):
        text += choice["delta"].get("content") or ""
        entries += (choice["logprobs"] or {}).get("content", [])
        if choice["finish_reason"]:
            endings.append((choice["finish_reason"], choice["stop_reason"]))
    return text, entries, endings, chunks[-1]["usage"]["completion_tokens"]


def rounded(found):
    """To a hundredth of a nat: the numbers of other servers' engines depend on who else is in the batch."""
    text, entries, endings, count = found
    return text, [(entry["token"], round(entry["logprob"], 2)) for entry in entries], endings, count


@pytest.mark.proves("seed")
@pytest.mark.slow
@pytest.mark.parametrize(("server", "seed", "compared"), [("api", 1, 32), ("api_openvino", 2, 6)])
async def test_32_streams_at_once_equal_each_alone(request, server, seed, compared):
    api = request.getfixturevalue(server)
    bodies = [api.body(stream=True, stream_options={}, **members) for members in requests(seed)]
    headers = dict(api.http.headers)
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=api.url, headers=headers, limits=limits, timeout=100) as client:
        together = await asyncio.gather(*(streamed(client, body) for body in bodies))
        alone = [await streamed(client, body) for body in bodies[:compared]]
    for body, one, other in zip(bodies[:compared], together[:compared], alone, strict=True):
        assert rounded(one) == rounded(other) if api.engine else one == other, body
        assert len(one[2]) == 1
    assert len({one[0] for one in together}) > CLIENTS * 0.8
