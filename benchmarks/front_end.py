"""What the API's process spends on a token, without sockets: `python -m benchmarks.front_end [--profile]`.

Frames as an engine process sends them, one a step for all streams, go in; bodies of ASGI responses come out. The whole
application stands between: middleware, endpoint, service, parsing, encoding. One thread, processor time, best of rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import pstats
import time
from typing import Any

import msgspec
import uvloop

from benchmarks import home
from chatwright.accounts.account import Account
from chatwright.api.application import build
from chatwright.api.operations import Operations
from chatwright.core.engine import EngineInfo
from chatwright.core.generation import TokenChunk
from chatwright.engines.process import frames
from chatwright.engines.streams import RequestStreams
from chatwright.models.manifest import read_manifest
from chatwright.rendering.renderer import Renderer
from chatwright.service.admission import Unmetered
from chatwright.service.catalog import Catalog
from chatwright.service.catalog_view import ModelCard
from chatwright.service.chat import ChatService
from chatwright.service.handoff import Handoffs
from chatwright.service.model import ServedModel
from chatwright.telemetry.observer import RequestCounter
from chatwright.tokenization.tokenizer import Tokenizer

_decoder = msgspec.msgpack.Decoder(frames.FromEngine)


class Replayed:
    """An engine whose chunks come as frames: `ProcessEngine` without its process."""

    active = 0
    ready = True
    info = EngineInfo("replayed", "replayed", 49152, 8192)

    def __init__(self) -> None:
        self.streams = RequestStreams()
        self.ids: list[str] = []

    def generate(self, request: Any) -> Any:
        """Chunks as they are replayed."""
        return self.streams.follow(request.id, lambda: self.ids.append(request.id), lambda: None)

    def take(self, body: bytes) -> None:
        """One frame."""
        for request_id, chunk in _decoder.decode(body).items:
            self.streams.put(request_id, chunk)


class AnyKey:
    """Lets everybody in."""

    async def authenticate(self, _: str) -> Account:
        """The one account."""
        return Account(key_id="k", name="bench", project_id="p", cache_group="g")


class Always:
    """Ready."""

    def reasons(self) -> tuple[str, ...]:
        """None against it."""
        return ()


def application(engine: Any) -> Any:
    """The server's ASGI application around an engine, with the default model's tokenizer and template."""
    home.prepare()
    model = read_manifest(home.default_folder())
    assert model is not None
    manifest = model.manifest
    tokenizer = Tokenizer.from_file(
        model.tokenizer,
        vocab_size=manifest.vocab_size,
        eos_token_ids=manifest.eos_token_ids,
        special_tokens=manifest.special_tokens,
    )
    renderer = Renderer(model.chat_templates(), manifest.special_tokens, None, context_length=8192)
    card = ModelCard("m", 0, "o", "m", 8192, 8191)
    served = ServedModel(card, engine, tokenizer, renderer, None, 8192, manifest.eos_token_ids)
    catalog = Catalog((served,))
    chat = ChatService(catalog, Unmetered(), Handoffs(b"secret"), RequestCounter())
    return build(chat, catalog, AnyKey(), Always(), operations=Operations(sinks=(lambda _: None,)))


async def stream(app: Any, tokens: int) -> int:
    """One request through the application; bytes that came out."""
    body = json.dumps(
        {
            "model": "m",
            "stream": True,
            "max_tokens": tokens,
            "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": "Hello"}],
        }
    ).encode()
    inbox = [{"type": "http.request", "body": body, "more_body": False}]
    sent = 0

    async def receive() -> Any:
        return inbox.pop() if inbox else await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        nonlocal sent
        sent += len(message.get("body", b""))

    headers = [(b"authorization", b"Bearer x"), (b"content-length", b"%d" % len(body))]
    path = "/v1/chat/completions"
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": headers}
    await app(scope | {"query_string": b"", "http_version": "1.1", "state": {}}, receive, send)
    return sent


async def round_of(app: Any, engine: Replayed, streams: int, tokens: int) -> float:
    """Microseconds a token, once all streams are open."""
    engine.ids = []
    running = [asyncio.create_task(stream(app, tokens)) for _ in range(streams)]
    while len(engine.ids) < streams:
        await asyncio.sleep(0)
    spent = 0.0
    for step in range(tokens):
        finish = "length" if step == tokens - 1 else None
        chunk = TokenChunk(token_ids=(504 + step % 4096,), finish=finish)
        body = frames.encode(frames.Outputs([(name, chunk) for name in engine.ids]))[4:]
        began = time.process_time()
        engine.take(body)
        for _ in range(8):  # until every stream has written
            await asyncio.sleep(0)
        spent += time.process_time() - began
    assert all(size > 100 * tokens for size in await asyncio.gather(*running)), "tokens were lost"
    return 1e6 * spent / streams / tokens


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--profile", action="store_true", help="where it goes, by cProfile")
    options = parser.parse_args()
    engine = Replayed()
    app = application(engine)
    found = [await round_of(app, engine, options.streams, options.tokens) for _ in range(options.rounds)]
    print(f"{min(found):.1f} us a token, best of {options.rounds} rounds of {options.streams} streams")
    if options.profile:
        with cProfile.Profile() as profile:
            await round_of(app, engine, options.streams, options.tokens)
        pstats.Stats(profile).sort_stats("tottime").print_stats(32)


if __name__ == "__main__":
    uvloop.run(main())
