"""The application under Serve: when it has started, and one id a response."""

from __future__ import annotations

import asyncio

import pytest

from chatwright.cluster.asgi import UnderServe


class Loading:
    def __init__(self) -> None:
        self.loaded = asyncio.Event()

    def reasons(self):
        return ["m: loading"]


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await send({"type": "lifespan.startup.complete"})
        return
    headers = [(b"content-type", b"text/plain"), (b"x-request-id", scope["answer"])]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hi"})


async def run(served, scope):
    sent = []

    async def send(message):
        sent.append(message)

    await served(scope, None, send)
    return sent


async def test_it_has_started_once_its_models_are_there():
    loading = Loading()
    starting = asyncio.create_task(run(UnderServe(app, loading), {"type": "lifespan"}))
    await asyncio.sleep(0)
    assert not starting.done()
    loading.loaded.set()
    assert await starting == [{"type": "lifespan.startup.complete"}]


async def test_it_starts_without_a_model_that_takes_too_long(caplog):
    assert await run(UnderServe(app, Loading(), seconds=0), {"type": "lifespan"})
    assert "m: loading" in caplog.text


@pytest.mark.parametrize(
    ("given", "answer", "left"),
    [(b"mine", b"mine", []), (b"x" * 129, b"req_1", [b"req_1"])],
)
async def test_an_id_that_serve_will_add_is_not_sent_twice(given, answer, left):
    scope = {"type": "http", "headers": [(b"x-request-id", given)], "answer": answer}
    start, body = await run(UnderServe(app, Loading()), scope)
    assert [value for name, value in start["headers"] if name == b"x-request-id"] == left
    assert (b"content-type", b"text/plain") in start["headers"]
    assert body["body"] == b"hi"
