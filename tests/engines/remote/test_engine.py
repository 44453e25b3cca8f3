"""One server behind the `Engine` seam: what it is told, what comes back, and every way it can fail."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import aclosing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatwright.core.errors import (
    ContextLengthExceeded,
    ContextNotFound,
    DeadlineExceeded,
    EngineFailed,
    InvalidGrammar,
    Overloaded,
    UnsupportedParameter,
)
from chatwright.core.generation import Handoff
from chatwright.engines.remote import engine as module
from chatwright.engines.remote.backend import Backend
from chatwright.engines.remote.breaker import FAILURES
from chatwright.engines.remote.contexts import Contexts
from chatwright.engines.remote.engine import RemoteEngine

ANSWER = ({"t": [5]}, {"t": [6, 7]}, {"t": [2], "f": "stop"})


async def until(condition) -> None:
    """Let the loop run until something holds; pytest's timeout ends it otherwise."""
    while not condition():
        await asyncio.sleep(0.005)


async def test_answer_comes_through(stub, running, say, events, new_request, collected):
    stub.replies["/go"] = say(events(*ANSWER, {"c": 3}))
    async with running() as engine:
        chunks = await collected(engine, new_request())
        assert [chunk.token_ids for chunk in chunks] == [(5,), (6, 7), (2,)]
        assert (chunks[-1].finish, chunks[-1].stop_token, chunks[-1].cached_tokens) == ("stop", 2, 3)
        stats = await engine.stats()
    assert stub.bodies("/go") == [{"prompt": [5, 6], "handoff": None}]
    assert (stats.generated_tokens, stats.prompt_tokens, stats.cached_tokens, stats.aborted) == (4, 2, 3, 0)


async def test_info_and_life(stub, running, toy):
    async with running() as engine:
        info = engine.info
        assert (info.name, info.vocab_size, info.context_length, info.unsupported) == (
            "toy",
            100,
            100,
            ("disaggregated_params",),
        )
        assert engine.ready
        assert engine.active == 0
    assert not engine.ready
    await until(lambda: stub.open == 0)


async def test_connection_is_used_again(stub, running, say, events, new_request, collected):
    stub.replies["/go"] = say(events(*ANSWER))
    async with running() as engine:
        for _ in range(4):
            await collected(engine, new_request())
    assert stub.connections == 2, "one for health checks, one for requests"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(st.data())
async def test_any_cut_of_the_stream_gives_the_same_answer(
    stub, running, say, events, new_request, collected, data
):
    whole = b"".join(events(*ANSWER))
    places = data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=20))
    cuts = [0, *sorted(places), len(whole)]
    stub.replies["/go"] = say([whole[start:end] for start, end in itertools.pairwise(cuts)])
    async with running() as engine:
        chunks = await collected(engine, new_request())
    assert [token for chunk in chunks for token in chunk.token_ids] == [5, 6, 7, 2]


async def test_stream_split_at_every_byte_gives_the_same_answer(
    stub, running, say, events, new_request, collected
):
    stub.replies["/go"] = say([bytes([byte]) for byte in b"".join(events(*ANSWER))])
    async with running() as engine:
        chunks = await collected(engine, new_request())
    assert [token for chunk in chunks for token in chunk.token_ids] == [5, 6, 7, 2]


async def test_closing_the_iterator_hangs_up(stub, running, say, events, new_request):
    reply = stub.replies["/go"] = say(events({"t": [5]}, {"t": [6]}, done=False), wait=asyncio.Event())
    async with running() as engine:
        async with aclosing(engine.generate(new_request())) as chunks:
            assert (await anext(chunks)).token_ids == (5,)
            assert engine.active == 1
        await reply.gone.wait()
        assert engine.active == 0
        assert (await engine.stats()).aborted == 1


async def test_cancelling_the_reader_hangs_up(stub, running, say, events, new_request, collected):
    reply = stub.replies["/go"] = say(events({"t": [5]}, {"t": [6]}, done=False), wait=asyncio.Event())
    async with running() as engine:
        reading = asyncio.create_task(collected(engine, new_request()))
        await stub.began.wait()
        reading.cancel()
        await reply.gone.wait()
        with pytest.raises(asyncio.CancelledError):
            await reading


async def test_server_that_goes_on_past_the_end_is_hung_up_on(
    stub, running, say, events, new_request, collected
):
    reply = stub.replies["/go"] = say(events({"t": [5, 2, 9]}, {"t": [6]}, done=False), wait=asyncio.Event())
    async with running() as engine:
        (chunk,) = await collected(engine, new_request())
        assert (chunk.token_ids, chunk.finish) == ((5, 2), "stop")
        await reply.gone.wait()


async def test_server_that_keeps_a_finished_stream_open_costs_a_moment(
    stub, running, say, events, new_request, collected, monkeypatch
):
    monkeypatch.setattr(module, "TAIL_SECONDS", 0.01)
    reply = stub.replies["/go"] = say(events(*ANSWER), wait=asyncio.Event())
    async with running() as engine:
        assert (await collected(engine, new_request()))[-1].finish == "stop"
        await reply.gone.wait()


@pytest.mark.parametrize(
    "pieces",
    [
        [b'data: {"t": [5]}\n\n', b'data: {"t"'],  # ends within an event
        [b'data: {"t": [5]}\n\n'],  # without saying why
        [b'data: {"t": [5]}\n\ndata: [DONE]\n\n'],
        [b'data: {"t": [5]}\n\n', b"data: <html>\n\n"],
        [b'data: {"t": [5]}\n\n', b'data: {"t": "x", "f": 5}\n\n'],
        [b'data: {"t": [5]}\n\n', b"data: [1]\n\n"],
        [b'data: {"t": [5]}\n\n', b"data: \xff\xfe\n\n"],
        [b'data: {"t": [5]}\n\n', b'data: {"e": "out of memory"}\n\n'],
        [b'data: {"t": [5]}\n\n', b'data: {"t": [6], "f": "abort"}\n\n'],
    ],
)
@pytest.mark.parametrize("cut", [False, True])
async def test_broken_answer_fails_after_what_came(stub, running, say, new_request, pieces, cut):
    stub.replies["/go"] = say(pieces, cut=cut)
    async with running() as engine:
        answer = engine.generate(new_request())
        assert (await anext(answer)).token_ids == (5,)
        with pytest.raises(EngineFailed, match=r"toy|out of memory"):
            await anext(answer)


@pytest.mark.parametrize(
    ("status", "body", "error", "param"),
    [
        (429, {"error": {"message": "slow down"}}, Overloaded, None),
        (503, "", Overloaded, None),
        (500, {"error": {"message": "secret path /x"}}, EngineFailed, None),
        (502, "<html>", EngineFailed, None),
        (401, {"error": "Unauthorized"}, EngineFailed, None),
        (404, {"detail": "Not Found"}, EngineFailed, None),
        (400, {"error": {"message": "bias of 300 is out of range"}}, UnsupportedParameter, "logit_bias"),
        (400, {"message": "Grammar error: 1:2"}, InvalidGrammar, "response_format"),
        (400, {"error": {"message": "maximum context length is 10"}}, ContextLengthExceeded, "messages"),
        (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, EngineFailed, None),
        (400, [], EngineFailed, None),
    ],
)
async def test_status_becomes_an_error(
    stub, running, says, new_request, collected, status, body, error, param
):
    stub.replies["/go"] = says(body, status)
    async with running() as engine:
        with pytest.raises(error) as raised:
            await collected(engine, new_request())
    assert type(raised.value) is error
    assert raised.value.param == param
    assert "secret" not in raised.value.message


@pytest.mark.parametrize(("told", "seconds"), [("7", 7.0), ("100000", 60.0), ("soon", 1.0)])
async def test_retry_after_is_passed_on(stub, running, says, new_request, collected, told, seconds):
    stub.replies["/go"] = says({}, 429, **{"retry-after": told})
    async with running() as engine:
        with pytest.raises(Overloaded) as raised:
            await collected(engine, new_request())
    assert raised.value.retry_after == seconds


async def test_silence_is_a_failure(stub, running, say, events, new_request, collected):
    stub.replies["/go"] = say(events({"t": [5]}, {"t": [6]}), wait=asyncio.Event())
    async with running(silence=0.05) as engine:
        with pytest.raises(EngineFailed, match="said nothing"):
            await collected(engine, new_request())


async def test_deadline_passes_while_it_waits(stub, running, say, events, new_request, collected):
    reply = stub.replies["/go"] = say(events({"t": [5]}), wait=asyncio.Event())
    reply.pieces.pop()
    async with running() as engine:
        with pytest.raises(DeadlineExceeded):
            await collected(engine, new_request(deadline=time.time() + 0.05))
        await reply.gone.wait()
        with pytest.raises(DeadlineExceeded):
            await collected(engine, new_request(deadline=time.time() - 1))


async def test_deadline_leaves_a_begun_answer_alone(stub, running, say, events, new_request):
    go = asyncio.Event()
    stub.replies["/go"] = say(events(*ANSWER, done=False), wait=go)
    async with running() as engine:
        deadline = time.time() + 0.2
        seen = []
        async for chunk in engine.generate(new_request(deadline=deadline)):
            seen += chunk.token_ids
            if len(seen) == 3:
                await until(lambda: time.time() > deadline)
                go.set()
    assert seen == [5, 6, 7, 2]


async def test_no_more_requests_than_connections(stub, running, say, events, new_request, collected):
    stub.replies["/go"] = say(events({"t": [5]}, *ANSWER), wait=asyncio.Event())
    async with running(connections=1) as engine, aclosing(engine.generate(new_request())) as chunks:
        await anext(chunks)
        with pytest.raises(Overloaded, match="as many"):
            await collected(engine, new_request())


async def test_server_that_is_gone_is_left_alone_until_it_is_back(
    stub, running, say, events, new_request, collected
):
    stub.replies["/go"] = say(events(*ANSWER))
    async with running() as engine:
        await collected(engine, new_request())
        port = stub.port
        await stub.stop()
        for _ in range(FAILURES):
            with pytest.raises(Overloaded, match="reached"):
                await collected(engine, new_request())
        assert not engine.ready
        with pytest.raises(Overloaded):
            await collected(engine, new_request())
        stub.requests.clear()
        await stub.start(port)
        await until(lambda: engine.ready)
        assert [path for path, _ in stub.requests] == ["/health", "/greet"]
        assert (await collected(engine, new_request()))[-1].finish == "stop"


async def test_server_that_comes_back_as_another_is_not_used(stub, running, says, toy):
    async with running(check_every=0.01) as engine:
        stub.replies["/health"] = says({}, 503)
        await until(lambda: not engine.ready)
        stub.replies["/greet"] = says({"version": "2", "model": "m", "context_length": 50})
        stub.replies["/health"] = says({})
        stub.requests.clear()
        await until(lambda: any(path == "/greet" for path, _ in stub.requests))
        assert not engine.ready


async def test_one_answer_between_failures_keeps_the_breaker_closed(
    stub, running, say, says, events, new_request, collected
):
    stub.replies["/go"] = [
        says({}, 500),
        says({}, 500),
        say(events(*ANSWER)),
        says({}, 500),
        says({}, 500),
        say(events(*ANSWER)),
    ]
    async with running() as engine:
        for fails in (True, True, False, True, True, False):
            if fails:
                with pytest.raises(EngineFailed):
                    await collected(engine, new_request())
            else:
                await collected(engine, new_request())
            assert engine.ready


async def test_refusals_leave_the_breaker_alone(stub, running, says, new_request, collected):
    stub.replies["/go"] = says({"error": {"message": "bias"}}, 400)
    async with running() as engine:
        for _ in range(2 * FAILURES):
            with pytest.raises(UnsupportedParameter):
                await collected(engine, new_request())
        assert engine.ready


async def test_start_waits_for_the_server(stub, toy):
    port = stub.port
    await stub.stop()
    engine = RemoteEngine(toy(), Backend(stub.url, 100, 100, patience=60))
    starting = asyncio.create_task(engine.start())
    await asyncio.sleep(0)
    await stub.start(port)
    await starting
    assert engine.ready
    await engine.close()


async def test_start_says_why_it_gave_up(stub, toy, says):
    stub.replies["/health"] = says({}, 503)
    engine = RemoteEngine(toy(), Backend(stub.url, 100, 100, patience=0))
    with pytest.raises(EngineFailed, match="503"):
        await engine.start()
    assert not engine.ready


async def test_server_with_a_shorter_context_is_refused(stub, toy, says):
    stub.replies["/greet"] = says({"version": "1", "model": "m", "context_length": 50})
    engine = RemoteEngine(toy(), Backend(stub.url, 100, 100, patience=0))
    with pytest.raises(EngineFailed, match="context_length = 50"):
        await engine.start()


async def test_what_runs_fails_when_it_is_closed(stub, running, say, events, new_request, collected):
    stub.replies["/go"] = say(events({"t": [5]}, {"t": [6]}), wait=asyncio.Event())
    async with running() as engine:
        reading = asyncio.create_task(collected(engine, new_request()))
        await stub.began.wait()
        await engine.close()
        with pytest.raises(EngineFailed):
            await reading
        with pytest.raises(Overloaded):
            await collected(engine, new_request())


async def test_connection_closed_between_requests_is_no_failure(
    stub, running, say, events, new_request, collected
):
    stub.replies["/go"] = say(events(*ANSWER), cut=True)
    async with running() as engine:
        for _ in range(3):
            assert (await collected(engine, new_request()))[-1].finish == "stop"


async def test_halves_of_a_request_meet_by_their_context(stub, running, say, events, new_request, collected):
    first = say(events({"t": [5], "f": "length", "h": {"blocks": [1, 2]}}))
    stub.replies["/go"] = [first, say(events({"t": [5]}, {"t": [6]}, {"t": [2], "f": "stop"}))]
    async with running(contexts=Contexts()) as engine:
        begin, go_on = Handoff("context", 42), Handoff("continuation", 42, (5,))
        await collected(engine, new_request(handoff=begin, max_tokens=1))
        chunks = await collected(engine, new_request(handoff=go_on))
        assert [token for chunk in chunks for token in chunk.token_ids] == [6, 2]
        with pytest.raises(ContextNotFound):
            await collected(engine, new_request(handoff=go_on))
    assert stub.bodies("/go")[1]["handoff"] == {"blocks": [1, 2]}


async def test_contexts_are_refused_where_they_are_switched_off(running, new_request, collected):
    async with running() as engine:
        with pytest.raises(UnsupportedParameter) as refusal:
            await collected(engine, new_request(handoff=Handoff("context", 1)))
    assert refusal.value.param == "disaggregated_params"


async def test_load_is_the_servers_word(stub, running, say):
    stub.replies["/metrics"] = say([b'run 5\nwait{queue="7"} 1\n'], kind="text/plain")
    async with running() as engine:
        first = await engine.stats()
        stub.replies["/metrics"] = say(status=500)
        assert await engine.stats() == first  # a reading holds for a second
    assert (first.running, first.waiting) == (5, 7)


async def test_key_goes_with_every_request(stub, running, say, events, new_request, collected):
    seen = []
    original = stub._one

    async def spy(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        rest = asyncio.StreamReader()
        rest.feed_data(head)
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            ),
            0,
        )
        rest.feed_data(await reader.readexactly(length))
        return await original(rest, writer)

    stub._one = spy
    stub.replies["/go"] = say(events(*ANSWER))
    async with running(api_key="k-123") as engine:
        await collected(engine, new_request())
    assert len(seen) == 3
    assert all(
        b"authorization: Bearer k-123" in head or b"Authorization: Bearer k-123" in head for head in seen
    )
