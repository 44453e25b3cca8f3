"""Replicas that come with the queue and go with it, and pools: simulated engines on a real cluster, in steps that take time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.cluster.conftest import Site

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
SLOW = {"kind": "simulated", "simulated": {"vocab_size": 49_152, "step_seconds": 0.02}}


def deploy(site: Site, **simulated: Any) -> dict[str, Any]:
    """With an engine that the command line has no words for."""
    return site.nodes.call("deploy", config=str(site.config), api_cpus=2, overrides=SLOW | simulated)


def running(found: dict[str, Any]) -> int:
    """Replicas of models that run."""
    return sum(
        states.get("RUNNING", 0)
        for name, app in found.items()
        if "-model-" in name
        for states in app["replicas"]
    )


def stopping(found: dict[str, Any]) -> int:
    return sum(states.get("STOPPING", 0) for app in found.values() for states in app["replicas"])


async def test_replicas_come_with_the_queue_and_go_without_cutting_a_stream(site):
    site.write(min_replicas=1, max_replicas=3, target_requests=4, upscale_seconds=1, downscale_seconds=2)
    await asyncio.to_thread(deploy, site)
    async with site.client() as client:
        first = [asyncio.create_task(site.stream(client, n, max_tokens=700)) for n in range(9)]
        await asyncio.to_thread(site.nodes.until, lambda found: running(found) == 3, "three replicas")
        # new requests reach the new replicas: 3 long ones each
        begun = [asyncio.Event() for _ in range(6)]
        long = [asyncio.create_task(site.stream(client, 20 + n, begun[n], max_tokens=1500)) for n in range(6)]
        await asyncio.gather(*(one.wait() for one in begun))
        heard = await asyncio.gather(*first)
        assert all((one.error, one.tokens, one.finish) == (None, 700, "length") for one in heard)
        # six are left: too few for three replicas, whoever must go waits for its own
        await asyncio.to_thread(site.nodes.until, lambda found: running(found) < 3, "fewer replicas")
        heard = await asyncio.gather(*long)
        assert all((one.error, one.tokens, one.finish) == (None, 1500, "length") for one in heard)
    await asyncio.to_thread(site.nodes.until, lambda found: running(found) == 1, "one replica")
    await asyncio.to_thread(site.nodes.until, lambda found: stopping(found) == 0, "nothing stopping")


async def test_pools_hand_contexts_from_node_to_node(site):
    """Prefill on one node, decode on another: the same tokens as from one engine, and the ledger counts them once."""
    async with site.client() as client:
        alone = await asyncio.gather(*(site.stream(client, n, max_tokens=60) for n in range(4)))
    text = site.config.read_text().split("[models.ray]")[0]
    pools = "[models.pools]\nprefill = 1\ndecode = 1\n[models.ray]\ncpus = 1\nresources = { engine = 1.0 }\n"
    site.config.write_text(text + pools)
    said = await asyncio.to_thread(deploy, site)
    assert len(said["started"]) == 2
    async with site.client() as client:
        pooled = await asyncio.gather(*(site.stream(client, n, max_tokens=60) for n in range(4)))
    assert [one.error for one in pooled] == [None] * 4
    assert [one.text for one in pooled] == [one.text for one in alone]
    assert [one.tokens for one in pooled] == [60] * 4
    await asyncio.to_thread(site.nodes.until, lambda found: len(found) == 3, "the old application to go")
    kept = list((site.home / "contexts").glob("*/*.kv"))
    folders = list((site.home / "contexts").iterdir())
    assert len(folders) >= 2, "each node has a folder of its own"
    assert kept == [], "nothing is left behind"
