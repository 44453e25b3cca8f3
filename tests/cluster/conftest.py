"""A real cluster for the tests marked `cluster` (make test-cluster), and clients that count every token."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from chatwright.accounts.store import Store
from chatwright.accounts.tables import ledger
from chatwright.models.catalog import DEFAULT_SLUG

KEY = "cluster-key"
ENGINE_NODES = 3
LONG_WAIT = 180
OURS = 'engine = "native"\nthreads = 1\nkv_cache_gib = 0.25'


class Nodes:
    """The cluster's process; a method of `nodes.Nodes` is called by its name."""

    def __init__(self, log: Path, engines: int = ENGINE_NODES, **environment: str) -> None:
        self._log = log.open("w")
        self.environment = os.environ | ENVIRONMENT | environment
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("nodes.py")), str(engines)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=self.environment,
        )
        self.address: str = self._answer()

    def call(self, name: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def until(self, condition: Any, what: str) -> Any:
        """What the applications are once the condition holds of them."""
        deadline = time.monotonic() + LONG_WAIT
        while not condition(found := self.call("applications")):
            assert time.monotonic() < deadline, f"{what}: {found}"
            time.sleep(0.2)
        return found

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the cluster's process has ended"
        answer = json.loads(line)
        assert "error" not in answer, answer
        return answer["ok"]

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)
        self._log.close()


ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2"}


@dataclass
class Heard:
    """What a client got of one stream."""

    id: str
    status: int = 0
    text: str = ""
    tokens: int = 0
    finish: str | None = None
    error: dict[str, Any] | None = None
    done: bool = False


@dataclass
class Site:
    """A home, its configuration, and where the cluster serves it."""

    nodes: Nodes
    home: Path
    port: int
    heard: list[Heard] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def config(self) -> Path:
        return self.home / "chatwright.toml"

    def write(self, engine: str = OURS, **ray: Any) -> None:
        """One model, the default one, on nodes that have room for an engine."""
        placed = {"min_replicas": 2, "cpus": 1, "resources": {"engine": 1.0}} | ray
        lines = [f'home = "{self.home}"', f'host = "127.0.0.1"\nport = {self.port}\napi_keys = ["{KEY}"]']
        lines += [
            "shutdown_seconds = 120",
            "heartbeat_seconds = 1",
            'log_level = "info"',
            "metrics_open = true",
        ]
        lines += [f'[[models]]\nmodel = "{DEFAULT_SLUG}"', engine]
        lines += ["[models.ray]", *(f"{name} = {toml(value)}" for name, value in placed.items())]
        self.config.write_text("\n".join(lines) + "\n")

    def command(self, *words: str, status: int | None = 0) -> str:
        """`chatwright WORDS`; what it says."""
        command = [sys.executable, "-m", "chatwright", *words]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=self.nodes.environment, timeout=300
        )
        assert status in (None, done.returncode), done.stdout + done.stderr
        return done.stdout + (done.stderr if status else "")

    def deploy(self, *more: str, status: int = 0) -> str:
        """The API stays on the head: only that has two CPUs to spare."""
        where = ("--address", self.nodes.address, "--head-only", "--api-cpus", "2")
        return self.command("deploy", "--config", str(self.config), *where, *more, status=status)

    def down(self) -> str:
        return self.deploy("--down")

    def client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=200)
        headers = {"authorization": f"Bearer {KEY}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=120, limits=limits)

    async def stream(
        self,
        client: httpx.AsyncClient,
        number: int,
        begun: asyncio.Event | None = None,
        heard: Heard | None = None,
        **members: Any,
    ) -> Heard:
        """One request, read to whatever end it has."""
        body = {
            "model": DEFAULT_SLUG,
            "messages": [{"role": "user", "content": f"Tell me story number {number}."}],
            "max_tokens": 200,
            "ignore_eos": True,
            "seed": number,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        } | members
        heard = heard or Heard(uuid.uuid4().hex)
        self.heard.append(heard)
        headers = {"x-request-id": heard.id}
        async with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
            heard.status = answer.status_code
            async for line in answer.aiter_lines():
                if not line.startswith("data: "):
                    continue
                if line == "data: [DONE]":
                    heard.done = True
                    continue
                self._hear(heard, json.loads(line.removeprefix("data: ")))
                if begun is not None and heard.tokens:
                    begun.set()
        return heard

    async def stream_again(self, client: httpx.AsyncClient, number: int, **members: Any) -> Heard:
        """As SDKs do: once more where the connection ended before an answer began, as it may while proxies change."""
        first = Heard(uuid.uuid4().hex)
        try:
            return await self.stream(client, number, heard=first, **members)
        except httpx.TransportError:
            assert first.status == 0, "an answer that has begun is not cut"
            return await self.stream(client, number, **members)

    def _hear(self, heard: Heard, event: dict[str, Any]) -> None:
        if "error" in event:
            heard.error = event["error"]
            return
        for choice in event["choices"]:
            heard.text += choice["delta"].get("content") or ""
            heard.finish = choice["finish_reason"] or heard.finish
        if event.get("usage"):
            heard.tokens = event["usage"]["completion_tokens"]

    def billed(self) -> dict[str, Any]:
        """The ledger's rows by request."""
        store = Store(f"sqlite:///{self.home / 'chatwright.db'}")
        try:
            return {row.request_id: row for row in store.read(lambda c: c.execute(sa.select(ledger)).all())}
        finally:
            store.close()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(one)}" for name, one in value.items()) + " }"
    return json.dumps(value)


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    pytest.importorskip("ray", reason="make test-cluster")
    started = Nodes(tmp_path_factory.mktemp("ray") / "nodes.log")
    yield started
    started.end()


@pytest.fixture(scope="module")
def site(
    nodes: Nodes, model_home: Path, default_model: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A home with a database of its own and the models of the tests; what it deploys is taken down afterwards."""
    home = tmp_path_factory.mktemp("home")
    (home / "models").symlink_to(model_home / "models")
    site = Site(nodes, home, free_port())
    site.write()
    yield site
    site.down()
