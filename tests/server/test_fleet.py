"""Models exchanged, and the configuration reloaded, while answers run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

import httpx
import pytest

from chatwright.accounts.keys import KeySettings
from chatwright.config import ConfigError, Source
from chatwright.core.errors import InvalidRequest
from chatwright.server import fleet as fleet_module
from chatwright.server.app import assemble
from chatwright.server.reloading import Reloading, differences

BODY = {"model": "smollm2", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 500}
TEXT = "one two three four five six seven eight nine ten"


class Running:
    """A server in this process, with a configuration that can be rewritten."""

    def __init__(self, home) -> None:
        self.home = home
        self.config = home / "chatwright.toml"
        self.script = home / "script.json"
        self.script.write_text(json.dumps([TEXT]))

    def write(self, *models: str, **settings: str) -> None:
        head = {"home": f'"{self.home}"', "api_keys": '["k"]'} | settings
        lines = [f"{name} = {value}" for name, value in head.items()]
        self.config.write_text("\n".join([*lines, *models]))

    def model(self, name: str = "smollm2", **more: str) -> str:
        values = {"model": f'"{name}"', "engine": '"scripted"', "script": f'"{self.script}"'} | more
        return "[[models]]\n" + "\n".join(f"{key} = {value}" for key, value in values.items())


@pytest.fixture
def home(tmp_path, model_home, default_model):
    (tmp_path / "models").symlink_to(model_home / "models")
    return tmp_path


@pytest.fixture
async def running(home, monkeypatch):
    monkeypatch.setattr(fleet_module, "GRACE_SECONDS", 0.01)
    made = Running(home)
    made.write(made.model(interval_ms="20"))
    source = Source(config=made.config)
    made.server = assemble(source.read())
    made.server.reloading = Reloading(made.server, source.read)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(made.server.running(made.server.asgi))
        await made.server.loaded.wait()
        transport = httpx.ASGITransport(made.server.asgi)
        client = httpx.AsyncClient(
            transport=transport, base_url="http://x", headers={"authorization": "Bearer k"}, timeout=30
        )
        made.client = await stack.enter_async_context(client)
        yield made


async def asking(running, **members):
    """An answer that runs."""
    (model,) = running.server.catalog.served()
    task = asyncio.create_task(running.client.post("/v1/chat/completions", json=BODY | members))
    while not model.engine.active:
        await asyncio.sleep(0)
    return task


async def content(running, **members) -> str:
    response = await running.client.post("/v1/chat/completions", json=BODY | members)
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


async def test_a_new_model_takes_over_and_no_answer_is_cut(running) -> None:
    old = running.server.catalog.served()[0].engine
    answer = await asking(running)
    other = running.home / "other.json"
    other.write_text('["something else"]')
    running.write(running.model(script=f'"{other}"', aliases='["fresh"]'))
    changes = await running.server.reload()
    assert any("script" in change for change in changes)
    assert await content(running, model="fresh") == "something else"
    assert old.ready
    assert (await answer).json()["choices"][0]["message"]["content"] == TEXT
    retiring = list(running.server.fleet._retiring)
    await asyncio.gather(*retiring)
    assert not old.ready


async def test_names_prices_and_limits_change_without_touching_the_engine(running) -> None:
    engine = running.server.catalog.served()[0].engine
    answer = await asking(running)
    running.write(
        running.model(
            interval_ms="20",
            aliases='["x"]',
            price='{ input = 1.0, output = "2" }',
            limits="{ requests_per_minute = 1 }",
        )
    )
    await running.server.reload()
    assert running.server.catalog.served()[0].engine is engine
    assert (await answer).status_code == 200
    assert (await running.client.get("/v1/models/x")).status_code == 200
    assert (await running.client.post("/v1/chat/completions", json=BODY)).status_code == 200
    refused = await running.client.post("/v1/chat/completions", json=BODY)
    assert refused.status_code == 429
    assert "this model" in refused.json()["error"]["message"]


async def test_environment_keys_change(running) -> None:
    running.write(running.model(interval_ms="20"), api_keys='["other"]')
    changes = await running.server.reload()
    assert changes == ["api_keys: changed"]
    assert (await running.client.get("/v1/models")).status_code == 401
    headers = {"authorization": "Bearer other"}
    assert (await running.client.get("/v1/models", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "broken",
    [
        "models = 5",
        "no toml at all",
        'colour = "red"',
        '[[models]]\nmodel = "smollm2"\nengine = "scripted"\nscript = "/none/such.json"',
        '[[models]]\nmodel = "no/such-model"',
        '[[models]]\nmodel = "smollm2"\n[[models]]\nmodel = "smollm2"\nengine = "scripted"\nscript = "SCRIPT"',
    ],
)
async def test_a_bad_file_changes_nothing_and_says_why(running, broken, caplog) -> None:
    head = f'home = "{running.home}"\napi_keys = ["nobody"]\n'
    running.config.write_text(head + broken.replace("SCRIPT", str(running.script)))
    with caplog.at_level(logging.ERROR), pytest.raises(InvalidRequest, match="The old configuration stays"):
        await running.server.reload()
    assert "the old one stays" in caplog.text
    assert await content(running) == TEXT
    assert [card.aliases for card in running.server.catalog.models()] == [("smollm2",)]


async def test_what_needs_a_restart_is_said_and_not_applied(running) -> None:
    running.write(running.model(interval_ms="20"), port="9999", shutdown_seconds="3")
    changes = await running.server.reload()
    assert set(changes) == {"port: 8000 -> 9999 (needs a restart)", "shutdown_seconds: 30 -> 3"}
    assert running.server.settings.port == 8000
    assert running.server.settings.shutdown_seconds == 3


async def test_the_admin_route_reloads(running) -> None:
    secret = running.server.keys.create(KeySettings("a", scopes=frozenset({"admin"}))).secret
    headers = {"authorization": f"Bearer {secret}"}
    running.write(running.model(interval_ms="20"), shutdown_seconds="4")
    answer = await running.client.post("/admin/v1/reload", headers=headers)
    assert answer.json()["changes"] == ["shutdown_seconds: 30 -> 4"]
    running.config.unlink()
    assert (await running.client.post("/admin/v1/reload", headers=headers)).status_code == 400


async def test_a_drained_server_ends_what_takes_too_long_with_an_error(running) -> None:
    running.write(running.model(interval_ms="20"), shutdown_seconds="0")
    await running.server.reload()
    answer = await asking(running)
    await running.server.drain()
    assert (await running.client.get("/readyz")).json()["reasons"][0] == "draining"
    cut = await answer
    assert (cut.status_code, cut.json()["error"]["type"]) == (500, "server_error")


def test_differences_show_no_secret(home) -> None:
    made = Running(home)
    made.write(made.model(), webhook_secret='"0123456789abcdef"', redis_url='"redis://:secret@a/"')
    old = Source(config=made.config).read()
    made.write(made.model(), webhook_secret='"fedcba9876543210"', redis_url='"redis://:other@a/"')
    lines = differences(old, Source(config=made.config).read())
    assert lines == ["redis_url: changed (needs a restart)", "webhook_secret: changed (needs a restart)"]


def test_two_models_with_the_same_alias_are_refused_by_name(home, default_gguf) -> None:
    made = Running(home)
    second = made.model(str(default_gguf), aliases='["small"]')
    made.write(made.model(aliases='["small"]'), second)
    with pytest.raises(ConfigError) as caught:
        assemble(Source(config=made.config).read())
    first, _, other = str(caught.value).partition(" and ")
    assert first.endswith("HuggingFaceTB/SmolLM2-135M-Instruct")
    assert " share the alias 'small'; " in other


async def test_a_reload_to_a_shared_alias_changes_nothing(running, default_gguf) -> None:
    second = running.model(str(default_gguf), aliases='["small"]')
    running.write(running.model(interval_ms="20", aliases='["small"]'), second)
    with pytest.raises(InvalidRequest, match="share the alias 'small'"):
        await running.server.reload()
    (card,) = running.server.catalog.models()
    assert "small" not in card.aliases
