"""Replicas on the nodes whose labels they ask for: our engine on some, servers of another engine, which they start, on others."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.conftest import Site
from tests.cluster.fire import STREAMS, heard_in_peace, running, under_fire

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
FAKE = str(Path(__file__).with_name("fake_vllm.py"))
SIMULATED = {"kind": "simulated", "simulated": {"vocab_size": 49_152, "step_seconds": 0.02}}


def server(pause: float) -> list[str]:
    """A command with everything that stands for something."""
    return [sys.executable, FAKE, "--host={host}", "--port={port}", "--key", "{key}", f"--pause={pause}"]


def servers() -> dict[int, str]:
    """Those that run on this machine, by process id: their command lines."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except OSError:  # it has just ended
            continue
        if FAKE in words and "chatwright.cluster.keeper" not in words:
            found[int(path.parent.name)] = " ".join(words)
    return found


@pytest.fixture(scope="module")
def labelled(site: Site) -> dict[str, set[str]]:
    """Ids of nodes by label."""
    kinds = ("cpu", "gpu", "gpu")
    found: dict[str, set[str]] = {"cpu": set(), "gpu": set()}
    for kind in kinds:
        found[kind].add(site.nodes.call("add_node", labels={"engine": kind}))
    return found


def write(site: Site, command: list[str]) -> None:
    """Two servers; the nodes have room for those of the next update too."""
    site.write('engine = "vllm"', command=command, labels={"engine": "gpu"}, resources={}, cpus=0.1)


@pytest.fixture(scope="module")
def on_gpus(site: Site, labelled: dict[str, set[str]]) -> Site:
    write(site, server(0.05))
    site.deploy()
    return site


def test_our_engine_runs_on_nodes_with_its_label(site, labelled):
    site.write(min_replicas=1, labels={"engine": "cpu"})
    site.nodes.call("deploy", config=str(site.config), api_cpus=2, overrides=SIMULATED)
    assert set(site.nodes.call("engine_nodes")) == labelled["cpu"]


def test_servers_are_started_on_nodes_with_theirs(on_gpus, labelled):
    running(on_gpus, 2)  # the other model's replica has gone
    found = on_gpus.nodes.call("engine_nodes")
    assert len(found) == len(servers()) == 2
    assert set(found) <= labelled["gpu"]


async def test_a_server_ends_with_its_replica_which_costs_only_what_it_had_begun(on_gpus):
    reference = await asyncio.to_thread(heard_in_peace, on_gpus)
    before = servers()

    def strike() -> Any:
        return on_gpus.nodes.call("kill_replica")

    whole, broken = await under_fire(on_gpus, reference, strike, said="broke off")
    assert broken, "the server had begun some"
    assert len(whole) >= STREAMS
    await asyncio.to_thread(running, on_gpus, 2)
    after = servers()
    assert len(after) == 2
    assert len(after.keys() & before.keys()) == 1


async def test_another_command_is_a_rolling_update_that_cuts_no_stream(on_gpus):
    async with on_gpus.client() as client:
        begun = asyncio.Event()
        long = asyncio.create_task(on_gpus.stream(client, 5, begun, max_tokens=500))
        await begun.wait()
        write(on_gpus, server(0.01))
        await asyncio.to_thread(on_gpus.deploy)
        assert any("--pause=0.05" in line for line in servers().values()), "the old one still has a stream"
        short = await on_gpus.stream_again(client, 6, max_tokens=20)
        heard = await long
    assert (short.error, short.tokens) == (None, 20)
    assert (heard.error, heard.tokens, heard.finish) == (None, 500, "length")
    async with asyncio.timeout(60):
        while any("--pause=0.05" in line for line in servers().values()):
            await asyncio.sleep(0.2)
    assert len(servers()) == 2


def test_a_server_that_does_not_start_leaves_the_old_ones_alone(on_gpus):
    write(on_gpus, ["/nowhere/vllm", "{port}"])
    said = on_gpus.deploy("--wait", "60", status=1)
    assert "status 127" in said
    assert len(servers()) == 2
