"""Streams over real sockets: bytes, headers, heartbeats, disconnects, slow readers."""

from __future__ import annotations

import asyncio
import json
import socket
import threading

import httpx
import pytest

from chatwright.api.settings import ApiSettings
from chatwright.core.deltas import Finished, Started, TextDelta
from chatwright.core.errors import EngineFailed, Overloaded
from chatwright.core.usage import Usage

AUTH = {"authorization": "Bearer sk-test"}


def events(text):
    return [line.removeprefix("data: ") for line in text.split("\n\n") if line]


async def test_stream_has_the_bytes_and_headers_of_the_contract(client, body):
    response = await client.post("/v1/chat/completions", json={**body, "stream": True})
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    head = (
        'data: {"id":"chatcmpl-00000000000000000000000000000000","object":"chat.completion.chunk",'
        '"created":1700000000,"model":"HuggingFaceTB/SmolLM2-135M-Instruct","system_fingerprint":"fp_test","service_tier":"default",'
        '"choices":[{"index":0,"delta":'
    )
    assert response.text == (
        head
        + '{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}\n\n'
        + head
        + '{"content":"Hello"},"logprobs":null,"finish_reason":null}]}\n\n'
        + head
        + '{"content":" world"},"logprobs":null,"finish_reason":null}]}\n\n'
        + head
        + '{},"logprobs":null,"finish_reason":"stop","stop_reason":null}]}\n\n'
        + "data: [DONE]\n\n"
    )


@pytest.mark.parametrize(
    ("options", "running", "final"),
    [
        (None, ["-"] * 4, False),
        ({}, [None] * 4, True),
        ({"include_usage": True, "continuous_usage_stats": None}, [None] * 4, True),
        ({"include_usage": True, "continuous_usage_stats": True}, [0, 1, 2, 3], True),
        ({"include_usage": False}, ["-"] * 4, False),
        ({"include_usage": False, "continuous_usage_stats": True}, ["-"] * 4, False),
    ],
)
async def test_usage_is_reported_as_stream_options_say(client, body, options, running, final):
    response = await client.post(
        "/v1/chat/completions", json={**body, "stream": True, "stream_options": options}
    )
    chunks = [json.loads(event) for event in events(response.text)[:-1]]
    usages = [chunk.get("usage", "-") for chunk in chunks]
    counts = [usage["completion_tokens"] if isinstance(usage, dict) else usage for usage in usages]
    assert counts[:4] == running
    assert len(chunks) == 4 + final
    if final:
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"] == {
            "prompt_tokens": 7,
            "completion_tokens": 3,
            "total_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
                "audio_tokens": 0,
            },
        }


async def test_failure_in_mid_stream_is_one_error_event_then_done(service, client, body):
    async def script(request):
        yield Started("assistant", Usage(7))
        raise EngineFailed("The engine died.")

    service.script = script
    response = await client.post(
        "/v1/chat/completions", json={**body, "stream": True, "stream_options": {"include_usage": True}}
    )
    last = events(response.text)
    assert last[-1] == "[DONE]"
    error = json.loads(last[-2])["error"]
    assert error == {
        "message": "The engine died.",
        "type": "server_error",
        "param": None,
        "code": "internal_error",
    }
    assert len(last) == 3
    assert service.closed.is_set()


async def test_deltas_after_the_last_one_are_an_error(service, client, body):
    async def script(request):
        yield Finished("stop", None, Usage())
        yield TextDelta("more", Usage())

    service.script = script
    response = await client.post("/v1/chat/completions", json={**body, "stream": True})
    assert '"error"' in events(response.text)[-2]
    assert service.closed.is_set()


@pytest.mark.parametrize("stream", [False, True])
async def test_headers_tell_what_was_cut_and_what_is_unused(service, client, body, stream):
    service.truncated_tokens = 12
    service.unused_variables = ("enable_thinking", "bad\r\nname: é")
    service.checked_keywords = ("oneOf", "uniqueItems")
    response = await client.post("/v1/chat/completions", json={**body, "stream": stream})
    assert response.headers["x-chatwright-truncated-tokens"] == "12"
    assert response.headers["x-chatwright-unused"] == "enable_thinking, bad%0D%0Aname%3A%20%C3%A9"
    assert response.headers["x-chatwright-checked"] == "oneOf, uniqueItems"


@pytest.mark.parametrize("stream", [False, True])
async def test_headers_are_absent_where_there_is_nothing_to_tell(client, body, stream):
    response = await client.post("/v1/chat/completions", json={**body, "stream": stream})
    told = {"x-chatwright-truncated-tokens", "x-chatwright-unused", "x-chatwright-checked"}
    assert not told & set(response.headers)


async def test_cache_key_is_a_hint_where_there_is_no_other(service, client, body):
    await client.post("/v1/chat/completions", json={**body, "prompt_cache_key": "k"})
    await client.post(
        "/v1/chat/completions", json={**body, "prompt_cache_key": "k"}, headers={"x-session-affinity": "c"}
    )
    assert [call["affinity"] for call in service.calls] == ["k", "c"]


@pytest.mark.parametrize(
    ("given", "seen"),
    [({}, None), ({"x-session-affinity": "c1"}, "c1"), ({"x-session-affinity": "x" * 257}, None)],
)
async def test_affinity_is_a_hint_that_never_fails(service, client, body, given, seen):
    response = await client.post("/v1/chat/completions", json=body, headers=given)
    assert response.status_code == 200
    assert service.calls[0]["affinity"] == seen


IMPATIENT = ApiSettings(headers_after=0.01, heartbeat_every=0.01)


@pytest.mark.parametrize("settings", [IMPATIENT])
def test_headers_and_heartbeats_come_while_the_request_waits(service, base_url, body):
    go = threading.Event()

    async def script(request):
        while not go.is_set():
            await asyncio.sleep(0.001)
        yield Started("assistant", Usage(7))
        yield Finished("stop", None, Usage(7, 1))

    service.script = script
    with httpx.stream(
        "POST", f"{base_url}/v1/chat/completions", json={**body, "stream": True}, headers=AUTH
    ) as response:
        assert response.status_code == 200
        seen = ""
        for text in response.iter_text():
            seen += text
            if seen.count(": keep-alive\n\n") >= 2:
                go.set()
    assert seen.endswith("data: [DONE]\n\n")
    assert seen.startswith(": keep-alive\n\n")
    assert "id:" not in [line[:3] for line in seen.splitlines()]


@pytest.mark.parametrize("settings", [IMPATIENT])
def test_late_failure_comes_as_an_event(service, base_url, body):
    begun = threading.Event()

    async def script(request):
        while not begun.is_set():
            await asyncio.sleep(0.001)
        raise Overloaded("Draining.")
        yield

    service.script = script
    with httpx.stream(
        "POST", f"{base_url}/v1/chat/completions", json={**body, "stream": True}, headers=AUTH
    ) as response:
        begun.set()
        text = response.read().decode()
    assert response.status_code == 200
    assert '"code":"overloaded"' in text
    assert text.endswith("data: [DONE]\n\n")


async def endless(request):
    count = 0
    yield Started("assistant", Usage(7))
    while True:
        count += 1
        await asyncio.sleep(0.001)
        yield TextDelta("x", Usage(7, count))


@pytest.mark.parametrize("stream", [False, True])
def test_client_that_goes_away_stops_its_generation(service, base_url, body, stream):
    service.script = endless
    request = httpx.Request(
        "POST", f"{base_url}/v1/chat/completions", json={**body, "stream": stream}, headers=AUTH
    )
    with httpx.Client(timeout=5) as client:
        if stream:
            response = client.send(request, stream=True)
            next(response.iter_bytes())
            response.close()
        else:
            host, port = request.url.host, request.url.port
            with socket.create_connection((host, port)) as connection:
                head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
                connection.sendall(
                    f"POST {request.url.path} HTTP/1.1\r\n{head}\r\n".encode() + request.content
                )
                assert service.opened.wait(5)
                assert not service.closed.is_set()
    assert service.closed.wait(5)


async def test_client_that_goes_away_while_the_request_is_admitted_cancels_that(application, service, body):
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def open_(*args, **kwargs):
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    service.open = open_
    await serve_until(application, body, entered)
    assert cancelled.is_set()


async def test_client_that_goes_away_before_the_first_delta_stops_its_generation(application, service, body):
    waiting = asyncio.Event()

    async def script(request):
        waiting.set()
        await asyncio.Event().wait()
        yield

    service.script = script
    await serve_until(application, {**body, "stream": True}, waiting)
    assert service.closed.is_set()


async def serve_until(application, body, moment):
    """Serve one request whose client goes away at `moment`; nothing may be sent."""
    first = True

    async def receive():
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": json.dumps(body).encode()}
        await moment.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError("there is nobody to send to")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"authorization", b"Bearer sk-test")],
    }
    await asyncio.wait_for(application(scope, receive, send), 5)


async def test_handler_that_is_cancelled_closes_the_answer(application, service, body):
    waiting = asyncio.Event()

    async def script(request):
        yield Started("assistant", Usage(7))
        waiting.set()
        await asyncio.Event().wait()

    service.script = script
    serving = asyncio.create_task(serve_until(application, body, asyncio.Event()))
    await waiting.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert service.closed.is_set()
