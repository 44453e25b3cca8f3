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


async def test_connections_notice_that_the_other_end_has_vanished(stub, running, say, events, new_request):
    stub.replies["/go"] = say(events({"t": [5]}, {"t": [2], "f": "stop"}), wait=asyncio.Event())
    made = []
    original = asyncio.open_connection

    async def open_connection(*arguments, **members):
        made.append(await original(*arguments, **members))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "open_connection", open_connection)
        async with running() as engine, aclosing(engine.generate(new_request())) as chunks:
            await anext(chunks)
            wire = made[-1][1].get_extra_info("socket")
            assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000
