import json
import time

import pytest

from chatwright.api.settings import ApiSettings
from chatwright.core.deltas import Finished, ReasoningDelta, Started, TextDelta, ToolCallDelta
from chatwright.core.errors import RateLimited
from chatwright.core.usage import Usage

PATH = "/v1/chat/completions"


async def test_whole_answer_has_the_shape_of_the_contract(client, body):
    response = await client.post(PATH, json=body)
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "id": "chatcmpl-" + "0" * 32,
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello world"},
                "logprobs": None,
                "finish_reason": "stop",
                "stop_reason": None,
            }
        ],
        "usage": {
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
        },
        "system_fingerprint": "fp_test",
        "service_tier": "default",
    }


async def test_calls_without_text_have_null_content(service, client, body):
    async def script(request):
        yield Started("assistant", Usage())
        yield ToolCallDelta(0, "{}", Usage(), "c", "f")
        yield Finished("tool_calls", None, Usage())

    service.script = script
    message = (await client.post(PATH, json=body)).json()["choices"][0]["message"]
    assert message == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }


async def test_logprobs_are_an_object_once_asked_for(client, body):
    response = await client.post(PATH, json={**body, "logprobs": True})
    assert response.json()["choices"][0]["logprobs"] == {"content": []}


async def test_joined_stream_is_the_whole_answer(service, client, body):
    async def script(request):
        usage = Usage(7, 4, reasoning_tokens=1)
        yield Started("assistant", usage)
        yield ReasoningDelta("Let me", usage)
        yield ReasoningDelta(" think", usage)
        for text in ("é", "", "ß\n\n", "data: [DONE]"):
            yield TextDelta(text, usage)
        yield Finished("stop", "END", usage)

    service.script = script
    whole = (await client.post(PATH, json=body)).json()["choices"][0]
    stream = (await client.post(PATH, json={**body, "stream": True})).text
    deltas = [json.loads(event[6:])["choices"][0] for event in stream.split("\n\n")[:-2]]
    assert "".join(c["delta"].get("content", "") for c in deltas) == whole["message"]["content"]
    assert "".join(c["delta"].get("reasoning_content", "") for c in deltas) == "Let me think"
    assert (deltas[-1]["finish_reason"], deltas[-1]["stop_reason"]) == ("stop", "END")
    assert (whole["finish_reason"], whole["stop_reason"]) == ("stop", "END")


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b'{"temperature": NaN}', 400, "invalid_json"),
        (b"[" * 200, 400, "invalid_json"),
        (b"[]", 400, "invalid_json"),
        (b"{}", 400, "missing_required_parameter"),
        (b'{"model": "m", "messages": [], "x": 1}', 400, "unknown_parameter"),
        (b" " * 9_000_000, 413, "request_too_large"),
    ],
)
async def test_bad_bodies_never_reach_the_service(client, service, sent, status, code):
    response = await client.post(PATH, content=sent)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.headers["content-type"] == "application/json"
    assert service.calls == []


async def test_large_bodies_are_checked_too(client, service, body):
    long = [{"role": "user", "content": "x" * 100_000}]
    assert (await client.post(PATH, json={**body, "messages": long})).status_code == 200
    refused = await client.post(PATH, json={**body, "messages": long, "n": 2})
    assert refused.json()["error"]["param"] == "n"


def test_refusal_of_a_large_body_reaches_the_client_over_a_socket(base_url, body):
    import httpx

    headers = {"authorization": "Bearer sk-test"}
    with httpx.Client(headers=headers) as client:
        response = client.post(base_url + PATH, content=b" " * 20_000_000)
        assert response.status_code == 413
        assert client.get(base_url + "/health").status_code == 200


async def test_account_reaches_the_service(client, service, keys, body):
    await client.post(PATH, json=body)
    assert service.calls[0]["account"] == keys.account
    assert service.calls[0]["deadline"] is None


@pytest.mark.parametrize("settings", [ApiSettings(deadline=60)])
async def test_deadline_is_a_time_from_now(client, service, body):
    before = time.time()
    await client.post(PATH, json=body)
    assert before + 60 <= service.calls[0]["deadline"] <= time.time() + 60


@pytest.mark.parametrize("settings", [ApiSettings(body_bytes=200)])
async def test_body_limit_is_a_setting(client, body):
    assert (await client.post(PATH, json=body)).status_code == 200
    response = await client.post(PATH, json={**body, "user": "x" * 200})
    assert response.status_code == 413
    assert "200 bytes" in response.json()["error"]["message"]


async def test_declared_size_is_refused_before_limits_are_looked_at(service, client, body):
    service.refused_at_once = RateLimited("Too many requests.", retry_after=1.0)
    assert (await client.post(PATH, json=body)).status_code == 429
    assert (await client.post(PATH, content=b" " * 9_000_000)).status_code == 413
