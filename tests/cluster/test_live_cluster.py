"""A real Ray cluster of four nodes on this machine, two replicas of the real model: the contract, and what a death costs."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.cluster.conftest import KEY, Heard, Site
from tests.cluster.fire import GREEDY, STREAMS, closed_rows, heard_in_peace, running, under_fire

from chatwright.models.catalog import DEFAULT_SLUG

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def deployed(site: Site) -> Site:
    said = site.deploy()
    assert f"listens on http://127.0.0.1:{site.port}" in said or f":{site.port}" in said
    return site


@pytest.fixture(scope="module")
def reference(deployed: Site) -> dict[int, Heard]:
    return heard_in_peace(deployed)


def test_the_doctor_finds_nothing_through_the_cluster(deployed):
    words = ("doctor", deployed.url, "--key", KEY, "--model", DEFAULT_SLUG, "--json")
    found = json.loads(deployed.command(*words, status=None))
    checks = [check for check in found["results"] if check["verdict"] != "unknown"]
    assert len(checks) > 100
    assert [check for check in checks if check["verdict"] != "holds"] == []


async def test_a_replica_killed_under_load_costs_only_what_it_had_begun(deployed, reference):
    whole, broken = await under_fire(deployed, reference, lambda: deployed.nodes.call("kill_replica"))
    assert broken, "the replica had begun some"
    assert len(whole) >= STREAMS
    running(deployed, 2)


async def test_a_node_killed_under_load_costs_only_what_it_had_begun(deployed, reference):
    whole, broken = await under_fire(deployed, reference, lambda: deployed.nodes.call("kill_node"))
    assert broken, "the node's replica had begun some"
    assert len(whole) >= STREAMS
    deployed.nodes.call("add_node")
    running(deployed, 2)


async def test_a_rolling_update_cuts_no_stream(deployed, reference):
    """Another step_tokens makes other replicas; the API is exchanged too."""
    text = deployed.config.read_text()
    deployed.config.write_text("step_tokens = 256\n" + text)
    over = asyncio.Event()

    async def keep_asking(client, number) -> list[Heard]:
        heard = [await deployed.stream_again(client, number, **GREEDY)]
        while not over.is_set():
            heard.append(await deployed.stream_again(client, number, **GREEDY))
        return heard

    async with deployed.client() as client:
        long = asyncio.create_task(deployed.stream(client, 99, temperature=0, max_tokens=1500))
        asking = [asyncio.create_task(keep_asking(client, number)) for number in range(3)]
        said = await asyncio.to_thread(deployed.deploy)
        over.set()
        rounds = await asyncio.gather(*asking)
        last = await long
    assert "started: " in said
    for number, heard in enumerate(rounds):
        for one in heard:
            assert (one.error, one.status, one.text) == (None, 200, reference[number].text)
    assert (last.error, last.tokens, last.finish) == (None, 1500, "length")
    running(deployed, 2)


async def test_deploying_the_same_again_leaves_replicas_alone(deployed):
    before = sorted(deployed.nodes.call("replicas"))
    said = await asyncio.to_thread(deployed.deploy)
    assert "unchanged: " in said
    assert "started: " not in said
    assert sorted(deployed.nodes.call("replicas")) == before


async def test_a_client_that_goes_away_stops_its_generation_on_its_node(deployed):
    async def running() -> float:
        text = (await client.get("/metrics")).text
        return sum(
            float(line.split()[-1])
            for line in text.splitlines()
            if line.startswith("chatwright:num_requests_running{")
        )

    async with deployed.client() as client:
        begun = asyncio.Event()
        streaming = asyncio.create_task(deployed.stream(client, 7, begun, max_tokens=4000))
        await begun.wait()
        assert await running() == 1
        streaming.cancel()
        await asyncio.gather(streaming, return_exceptions=True)
        async with asyncio.timeout(20):
            while await running():
                await asyncio.sleep(0.1)
    heard = deployed.heard[-1]
    rows = await closed_rows(deployed, [heard])
    assert rows[heard.id].status == "aborted"
    assert heard.tokens <= rows[heard.id].output_tokens < 4000
