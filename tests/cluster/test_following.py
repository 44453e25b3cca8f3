"""Replicas and the API that follows them, with real engine processes over TCP and the directory in between; no Ray."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from tests.engines.process.conftest import collect, options, request

from chatwright.cluster import following
from chatwright.cluster.contexts import ClusterContexts, ContextFiles
from chatwright.cluster.directory import Directory
from chatwright.cluster.following import FollowingEngine, FollowingPools, MemberNodes
from chatwright.cluster.replica import ListeningEngines, Replica
from chatwright.core.errors import ContextNotFound, EngineFailed, Overloaded
from chatwright.core.generation import Handoff
from chatwright.engines.replicas.pools import PooledEngine
from chatwright.engines.replicas.replica_set import ReplicaSet
from chatwright.model_config import ModelSettings

ONE = ModelSettings(model="m")


class Cluster:
    """Replicas by name, and an engine that follows those of one model."""

    def __init__(self, folder) -> None:
        self.directory = Directory()
        self.folder = str(folder)
        self.replicas: dict[str, Replica] = {}
        self.engines = {}
        self.api = FollowingEngine("m", self.directory.watch)

    async def add(self, name: str, key: str = "m", node: str = "n1", **numbers: float) -> None:
        sources = ListeningEngines("127.0.0.1", node, {"handoff_folder": f"{self.folder}/{node}"})
        born = options(**({"step_seconds": 0.01} | numbers))
        engine = self.engines[name] = sources.engine(born, ONE)
        ((listener, place),) = sources.made

        async def write(where):
            await self.directory.register(key, name, where)

        async def strike():
            await self.directory.withdraw(key, name)

        self.replicas[name] = Replica(engine, listener, place, write, strike)
        await self.replicas[name].start()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.api.members) != count:
                await asyncio.sleep(0)

    async def end(self) -> None:
        await self.api.close()
        for name in list(self.replicas):
            await self.replicas.pop(name).drain(0)


@pytest.fixture
async def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster
    await cluster.end()


async def rest(stream):
    return [token async for chunk in stream for token in chunk.token_ids]


async def begin(engine, name, max_tokens):
    stream = engine.generate(request(name, max_tokens))
    first = await anext(stream)
    return list(first.token_ids), stream


async def test_the_api_starts_with_the_first_replica_and_takes_later_ones_in(cluster):
    starting = asyncio.create_task(cluster.api.start())
    await asyncio.sleep(0)
    assert not starting.done()
    assert not cluster.api.ready
    await cluster.add("a")
    await asyncio.wait_for(starting, 30)
    assert cluster.api.info == cluster.engines["a"].info
    await cluster.add("b")
    await cluster.until(2)
    await asyncio.gather(*(collect(cluster.api, request(f"r{i}", 20)) for i in range(8)))
    each = [(await engine.stats()).generated_tokens for engine in cluster.engines.values()]
    assert sum(each) == 160
    assert all(each), "both serve"


async def test_a_replica_that_drains_cuts_no_stream_and_gets_no_new_one(cluster):
    await cluster.add("a")
    await cluster.api.start()
    whole = await collect(cluster.api, request("reference", 60))
    first, stream = await begin(cluster.api, "r", 60)
    draining = asyncio.create_task(cluster.replicas.pop("a").drain(60))
    await cluster.until(0)
    with pytest.raises(Overloaded):
        await collect(cluster.api, request("late"))
    assert first + await rest(stream) == whole
    await asyncio.wait_for(draining, 60)
    assert cluster.engines["a"].pid is None


async def test_a_drain_that_takes_too_long_ends_with_an_error(cluster):
    await cluster.add("a")
    await cluster.api.start()
    _, stream = await begin(cluster.api, "r", 1500)
    await cluster.replicas.pop("a").drain(0.05)
    with pytest.raises(EngineFailed):
        await rest(stream)


async def test_while_one_is_exchanged_for_another_requests_are_served_and_equal(cluster):
    await cluster.add("old")
    await cluster.api.start()
    whole = await collect(cluster.api, request("reference", 40))
    streams = [asyncio.create_task(collect(cluster.api, request(f"r{i}", 40))) for i in range(5)]
    await cluster.add("new")
    await cluster.until(2)
    await cluster.replicas.pop("old").drain(60)
    streams += [asyncio.create_task(collect(cluster.api, request(f"s{i}", 40))) for i in range(5)]
    assert await asyncio.gather(*streams) == [whole] * 10


async def test_requests_without_a_token_outlive_their_replica_others_hear_of_it(cluster):
    await cluster.add("a", step_seconds=0.05)
    await cluster.api.start()
    first, stream = await begin(cluster.api, "begun", 500)
    await cluster.add("b")
    await cluster.until(2)
    os.kill(cluster.engines["a"].pid, signal.SIGSTOP)  # sits on what it gets
    waiting = [asyncio.create_task(collect(cluster.api, request(f"w{i}", 30))) for i in range(4)]
    while (await cluster.engines["b"].stats()).generated_tokens < 60:
        await asyncio.sleep(0)
    os.kill(cluster.engines["a"].pid, signal.SIGKILL)
    with pytest.raises(EngineFailed):
        await rest(stream)
    results = await asyncio.wait_for(asyncio.gather(*waiting), 60)
    assert [len(tokens) for tokens in results] == [30] * 4
    assert len({tuple(tokens) for tokens in results}) == 1
    assert first


async def test_a_replica_that_could_not_be_reached_is_tried_again(cluster, monkeypatch):
    monkeypatch.setattr(following, "JOIN_SECONDS", (0.01,))
    attempts = []

    def attach(place):
        attempts.append(place)
        engine = following.attach_to_process(place)
        if len(attempts) < 3:

            async def fail():
                raise EngineFailed("the engine is starting again")

            engine.start = fail
        return engine

    cluster.api = FollowingEngine("m", cluster.directory.watch, attach=attach)
    await cluster.add("a")
    await asyncio.wait_for(cluster.api.start(), 30)
    assert len(attempts) == 3
    assert len(await collect(cluster.api, request("r", 20))) == 20


async def test_a_directory_that_is_away_changes_nothing(tmp_path):
    trouble = asyncio.Event()
    asked = asyncio.Event()
    directory = Directory()

    async def watch(version, seconds):
        if trouble.is_set():
            asked.set()
            raise ConnectionError("no directory")
        return await directory.watch(version, 0.01)

    cluster = Cluster(tmp_path)
    cluster.directory, cluster.api = directory, FollowingEngine("m", watch)
    await cluster.add("a")
    await cluster.api.start()
    trouble.set()
    await asyncio.wait_for(asked.wait(), 30)
    assert len(await collect(cluster.api, request("r"))) == 8
    trouble.clear()
    await cluster.add("b")
    await cluster.until(2)
    await cluster.end()


async def test_a_replica_of_another_make_is_left_out(cluster, caplog):
    await cluster.add("a")
    await cluster.api.start()
    await cluster.add("b", vocab_size=99)
    async with asyncio.timeout(30):
        while "is not used" not in caplog.text:
            await asyncio.sleep(0)
    assert len(cluster.api.members) == 1
    assert len(await collect(cluster.api, request("r"))) == 8


async def test_an_api_that_waits_for_its_first_replica_can_be_ended(cluster):
    starting = asyncio.create_task(cluster.api.start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


class FolderNodes:
    """`Nodes` without Ray: the files of each node, and what was moved."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.moves: list[tuple[str, str]] = []

    def at(self, node):
        return ContextFiles(str(self.folder / node))

    async def move(self, context_id, source, target):
        self.moves.append((source, target))
        self.at(target).take(context_id, self.at(source).export(context_id))

    async def holds(self, context_id, node):
        return self.at(node).holds(context_id)

    async def discard(self, context_id, node):
        self.at(node).discard(context_id)


@pytest.fixture
async def pools(cluster, tmp_path):
    """An API over a prefill pool on one node and a decode pool on another."""
    nodes = MemberNodes()
    moved = FolderNodes(tmp_path)
    contexts = ClusterContexts(moved, nodes.of, nodes.all)
    api = cluster.api = FollowingPools("m", cluster.directory.watch, PooledEngine({}, {}, contexts), nodes)
    await cluster.add("p", "m/prefill", "n1")
    await cluster.add("d", "m/decode", "n2")
    await api.start()
    return cluster, moved


async def test_pools_carry_contexts_from_node_to_node_and_leave_none_behind(pools, tmp_path):
    cluster, nodes = pools
    alone = await collect(cluster.engines["d"], request("alone", 40))
    answers = await asyncio.gather(*(collect(cluster.api, request(f"r{i}", 40)) for i in range(6)))
    assert answers == [alone] * 6
    assert nodes.moves == [("n1", "n2")] * 6
    assert (await cluster.engines["p"].stats()).generated_tokens == 6
    assert list(tmp_path.glob("*/*.kv")) == []
    assert cluster.api.ready
    assert cluster.api.info == cluster.engines["p"].info


async def test_halves_of_two_api_processes_find_each_other(cluster, tmp_path):
    moved = FolderNodes(tmp_path)
    await cluster.add("a", node="n1")
    apis = []
    for _ in range(2):
        nodes = MemberNodes()
        contexts = ClusterContexts(moved, nodes.of, nodes.all)
        apis.append(FollowingEngine("m", cluster.directory.watch, ReplicaSet(contexts=contexts), nodes))
        await apis[-1].start()
    first = await collect(apis[0], request("c", 1, handoff=Handoff("context", 7)))
    await cluster.add("b", node="n2")
    async with asyncio.timeout(30):
        while len(apis[1].members) < 2:
            await asyncio.sleep(0)
    await cluster.replicas.pop("a").drain(60)
    whole = await collect(apis[1], request("whole", 9))
    rest_of_it = await collect(apis[1], request("c", 9, handoff=Handoff("continuation", 7, tuple(first))))
    assert first + rest_of_it == whole
    assert moved.moves == [("n1", "n2")]
    with pytest.raises(ContextNotFound):
        await collect(apis[1], request("n", 9, handoff=Handoff("continuation", 8, tuple(first))))
    for api in apis:
        await api.close()


def test_contexts_of_nodes_of_the_past_are_swept(tmp_path):
    old, fresh = tmp_path / "gone" / "1.kv", tmp_path / "gone" / "2.kv"
    old.parent.mkdir()
    old.write_bytes(b"x")
    fresh.write_bytes(b"x")
    os.utime(old, (1, 1))
    files = ContextFiles(str(tmp_path / "new"))
    assert not old.exists()
    assert fresh.exists()
    files.take(5, b"kv")
    assert files.export(5) == b"kv"
    files.discard(5)
    files.discard(5)
    with pytest.raises(ContextNotFound):
        files.export(5)
