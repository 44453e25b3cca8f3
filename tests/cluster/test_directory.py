"""The directory: who is there, until they say otherwise or say nothing."""

from __future__ import annotations

import asyncio

import pytest

from chatwright.cluster.directory import Directory, Place
from chatwright.engines.process.tcp import TcpAddress

HERE = Place(TcpAddress("10.0.0.1", 1, b"a"), "n1")
THERE = Place(TcpAddress("10.0.0.2", 2, b"b"), "n2")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def directory(clock):
    return Directory(lease_seconds=1.0, clock=clock)


async def members(directory):
    return (await directory.watch(0, 0)).members


async def test_replicas_are_found_by_model_and_name(directory):
    assert await members(directory) == {}
    await directory.register("m", "a", HERE)
    await directory.register("m", "b", THERE)
    await directory.register("other", "a", THERE)
    assert await members(directory) == {"m": {"a": HERE, "b": THERE}, "other": {"a": THERE}}
    await directory.withdraw("m", "a")
    await directory.withdraw("m", "nobody")
    assert await members(directory) == {"m": {"b": THERE}, "other": {"a": THERE}}


async def test_whoever_does_not_renew_is_forgotten(directory, clock):
    await directory.register("m", "a", HERE)
    await directory.register("m", "b", THERE)
    clock.now = 0.9
    await directory.register("m", "b", THERE)
    clock.now = 1.5
    assert await members(directory) == {"m": {"b": THERE}}


async def test_a_watcher_hears_of_a_change_at_once(directory):
    version = (await directory.watch(0, 0)).version
    waiting = asyncio.create_task(directory.watch(version, 1000))
    await asyncio.sleep(0)
    await directory.register("m", "a", HERE)
    reading = await asyncio.wait_for(waiting, 30)
    assert reading.members == {"m": {"a": HERE}}
    assert reading.version != version


async def test_a_renewal_and_a_leave_of_nobody_are_no_changes(directory):
    await directory.register("m", "a", HERE)
    version = (await directory.watch(0, 0)).version
    await directory.register("m", "a", HERE)
    await directory.withdraw("m", "b")
    assert (await directory.watch(version, 0)).version == version
    await directory.register("m", "a", THERE)
    assert (await directory.watch(version, 0)).version != version


async def test_a_watcher_who_missed_a_change_does_not_wait(directory):
    version = (await directory.watch(0, 0)).version
    await directory.register("m", "a", HERE)
    assert (await asyncio.wait_for(directory.watch(version, 1000), 30)).members


async def test_an_end_of_a_lease_wakes_watchers():
    directory = Directory(lease_seconds=0.05)
    await directory.register("m", "a", HERE)
    version = (await directory.watch(0, 0)).version
    reading = await asyncio.wait_for(directory.watch(version, 1000), 30)
    assert reading.members == {}


async def test_one_that_was_started_again_is_not_taken_for_the_old_one(directory):
    old = (await directory.watch(0, 0)).version
    assert (await Directory().watch(old, 1000)).version != old


async def test_it_remembers_what_was_deployed(directory):
    await directory.note("app", "1")
    await directory.note("app", "2")
    assert await directory.noted() == {"app": "2"}
