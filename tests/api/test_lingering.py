"""Refusals reach clients that are still sending, also where the connection ends with the response."""

import asyncio
import json
import socket
import urllib.error
import urllib.request

import pytest

from chatwright.api import lingering

PATH = "/v1/chat/completions"
LARGE = b" " * 12_000_000


def refused(url, key):
    """What Python's own client, which closes each connection, makes of a refusal."""
    request = urllib.request.Request(url + PATH, LARGE, {"authorization": f"Bearer {key}"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=20)
    with caught.value as error:
        return error.code, json.loads(error.read())["error"]["code"]


@pytest.mark.parametrize(
    ("key", "refusal"), [("sk-test", (413, "request_too_large")), ("wrong", (401, "invalid_api_key"))]
)
async def test_client_that_is_still_sending_reads_its_refusal(base_url, key, refusal):
    assert await asyncio.to_thread(refused, base_url, key) == refusal


@pytest.mark.parametrize("more", ["", "Expect: 100-continue\r\n"])
async def test_client_that_never_sends_its_body_is_not_waited_for_long(base_url, monkeypatch, more):
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.05)
    address = base_url.removeprefix("http://").split(":")

    def talk():
        with socket.create_connection((address[0], int(address[1])), timeout=20) as client:
            head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{more}Content-Length: 5\r\n\r\n"
            client.sendall(head.encode())
            said = b""
            while part := client.recv(65536):
                said += part
        return said

    said = await asyncio.to_thread(talk)
    assert said.startswith(b"HTTP/1.1 401 ")
    assert said.endswith(b"}}")


async def test_read_body_is_not_waited_for_again(base_url, body):
    data = json.dumps(body | {"model": ""}).encode()
    request = urllib.request.Request(base_url + PATH, data, {"authorization": "Bearer sk-test"})

    def ask():
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=lingering.LINGER_SECONDS / 2)
        with caught.value as error:
            return error.code

    assert await asyncio.to_thread(ask) == 400
