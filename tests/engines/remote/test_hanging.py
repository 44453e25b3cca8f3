"""Servers that say nothing any more: those that hang, and those that have vanished."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import aclosing

import pytest

from chatwright.core.errors import EngineFailed
from chatwright.engines.remote import engine as module


async def test_request_without_a_token_does_not_outwait_a_server_that_hangs(
    stub, running, say, events, new_request, collected, monkeypatch
):
    monkeypatch.setattr(module, "ASK_SECONDS", 0.05)
    hanging = say(events({"t": [5]}), wait=asyncio.Event())
    hanging.pieces.pop()
    begun = say(events({"t": [5]}, {"t": [6]}, {"t": [2], "f": "stop"}), wait=asyncio.Event())
    stub.replies["/go"] = [begun, hanging]
    async with running(check_every=0.01) as engine, aclosing(engine.generate(new_request())) as chunks:
        assert (await anext(chunks)).token_ids == (5,)
        stub.replies["/health"] = say([b"late"], wait=asyncio.Event())
        with pytest.raises(EngineFailed, match="no longer answers"):
            await collected(engine, new_request(deadline=time.time() + 60))
        assert not engine.ready
        assert (await anext(chunks)).token_ids == (6,), "a stream that has begun may go on"


async def test_connections_notice_that_the_other_end_has_vanished(
    stub, running, say, events, new_request, monkeypatch
):
    made = []
    original = socket.socket.setsockopt

    class Spy(socket.socket):
        def setsockopt(self, *option):
            made.append(option)
            return original(self, *option)

    monkeypatch.setattr(socket, "socket", Spy)
    async with running():
        pass
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in made
    assert (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 15_000) in made
