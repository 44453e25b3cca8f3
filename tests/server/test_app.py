"""The server's life: loading, ready, failed."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from chatwright.config import ConfigError, Settings
from chatwright.core.errors import EngineFailed
from chatwright.metering import PriceSettings
from chatwright.server.app import assemble, first_key, open_store

HEADERS = {"authorization": "Bearer k"}
BODY = {"model": "smollm2", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def settings(tmp_path, model_home, default_model):
    (tmp_path / "models").symlink_to(model_home / "models")
    script = tmp_path / "script.json"
    script.write_text('["Hello."]')
    model = {"model": "smollm2", "engine": "scripted", "script": str(script)}
    return Settings(home=tmp_path, api_keys=["k"], models=[model])


@pytest.fixture
def client_of():
    def make(server):
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(server.asgi), base_url="http://x", headers=HEADERS
        )

    return make


async def test_probes_and_requests_while_the_model_loads(settings, client_of, monkeypatch):
    server = assemble(settings)
    (model,) = server.catalog.served()
    go, started = asyncio.Event(), model.engine.start

    async def slow_start():
        await go.wait()
        await started()

    monkeypatch.setattr(model.engine, "start", slow_start)
    async with server.running(server.asgi), client_of(server) as client:
        await asyncio.sleep(0)
        assert (await client.get("/livez")).status_code == 200
        loading = await client.get("/readyz")
        assert loading.status_code == 503
        assert "loading" in json.dumps(loading.json()["reasons"])
        early = await client.post("/v1/chat/completions", json=BODY)
        assert (early.status_code, early.json()["error"]["code"]) == (503, "overloaded")
        assert int(early.headers["retry-after"]) >= 1
        go.set()
        await server.loaded.wait()
        assert (await client.get("/readyz")).json() == {"status": "ready", "reasons": []}
        answer = await client.post("/v1/chat/completions", json=BODY)
        assert answer.json()["choices"][0]["message"]["content"] == "Hello."


async def test_model_that_fails_to_load_is_told_by_readyz(settings, client_of, monkeypatch):
    server = assemble(settings)
    (model,) = server.catalog.served()

    async def broken():
        raise EngineFailed("no kernels")

    monkeypatch.setattr(model.engine, "start", broken)
    async with server.running(server.asgi), client_of(server) as client:
        await server.loaded.wait()
        report = await client.get("/readyz")
        assert report.status_code == 503
        assert "no kernels" in json.dumps(report.json()["reasons"])
        assert (await client.get("/health")).status_code == 200


async def test_engine_that_went_away_is_told_by_readyz(settings, client_of):
    server = assemble(settings)
    (model,) = server.catalog.served()
    async with server.running(server.asgi), client_of(server) as client:
        await server.loaded.wait()
        await model.engine.close()
        assert "restarting" in json.dumps((await client.get("/readyz")).json()["reasons"])


async def test_answers_still_running_at_shutdown_end(settings, client_of):
    settings.models[0].interval_ms = 10_000_000
    server = assemble(settings)
    (model,) = server.catalog.served()
    async with client_of(server) as client:
        async with server.running(server.asgi):
            await server.loaded.wait()
            asking = asyncio.create_task(client.post("/v1/chat/completions", json=BODY))
            while (await model.engine.stats()).running == 0:
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait({asking})
        assert (await model.engine.stats()).running == 0


async def test_first_key_is_made_once(settings):
    server = assemble(settings)
    async with server.running(server.asgi):
        secret = first_key(server.keys)
        assert secret is not None
        assert secret.startswith("cw-")
        assert first_key(server.keys) is None


def test_one_name_for_two_models_is_refused(settings):
    settings.models.append(settings.models[0])
    with pytest.raises(ConfigError, match="twice"):
        assemble(settings)


def test_database_and_pepper_lie_in_home(settings):
    store, pepper = open_store(settings)
    store.close()
    assert (settings.home / "chatwright.db").exists()
    assert (settings.home / "pepper").stat().st_mode & 0o077 == 0
    assert len(pepper) >= 32


async def test_prices_are_shown_a_token(settings, client_of):
    assert await shown_price(settings, client_of) is None
    price = {"input": "0.15", "cached_input": "0.025", "output": "3"}
    settings = settings.model_copy(
        update={"models": [settings.models[0].model_copy(update={"price": PriceSettings(**price)})]}
    )
    expected = {"prompt": "0.00000015", "completion": "0.000003", "input_cache_read": "0.000000025"}
    assert await shown_price(settings, client_of) == expected


async def shown_price(settings, client_of):
    server = assemble(settings)
    async with server.running(server.asgi), client_of(server) as client:
        return (await client.get("/v1/models/smollm2")).json()["pricing"]
