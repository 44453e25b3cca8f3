"""What clients and the ledger see when a server is signalled or killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatwright.models.catalog import DEFAULT_SLUG

pytestmark = pytest.mark.slow


class Stream:
    """Events of an answer, read one by one."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()
        self.events: list[dict[str, Any]] = []
        self.done = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for line in self._lines:
            if line == "data: [DONE]":
                self.done = True
            elif line.startswith("data: "):
                self.events.append(json.loads(line.removeprefix("data: ")))
                yield self.events[-1]

    def read(self, count: int = 1_000_000) -> None:
        for _, _ in zip(range(count), self, strict=False):
            pass

    @property
    def finish(self) -> str | None:
        reasons = [event["choices"][0]["finish_reason"] for event in self.events if event.get("choices")]
        return reasons[-1] if reasons else None


def eventually(what: Any) -> Any:
    """What becomes true, some time."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it never came")


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def readiness(site) -> dict[str, Any]:
    return httpx.get(f"{site.url}/readyz").json()


def test_sigterm_lets_a_stream_end_and_sends_new_requests_away(site, ask) -> None:
    site.write(site.scripted(interval_ms=20))
    site.start()
    key = site.key().secret
    with (
        site.client(key) as client,
        client.stream("POST", "/v1/chat/completions", json=ask(stream=True)) as got,
    ):
        stream = Stream(got)
        stream.read(3)
        site.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: "draining" in readiness(site)["reasons"])
        with site.client(key) as other:
            refused = other.post("/v1/chat/completions", json=ask())
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        stream.read()
    assert (stream.finish, stream.done) == ("stop", True)
    assert site.ended() == 0
    (row,) = site.usage()
    assert (row["requests"], row["finished"]) == (1, 1)


def test_a_stream_beyond_the_limit_ends_with_an_error_event_and_its_bill(site, ask) -> None:
    site.write(site.scripted(interval_ms=50), shutdown_seconds=1)
    site.start()
    with (
        site.client(site.key().secret) as client,
        client.stream("POST", "/v1/chat/completions", json=ask(stream=True)) as got,
    ):
        stream = Stream(got)
        stream.read(3)
        site.process.send_signal(signal.SIGTERM)
        stream.read()
    assert stream.events[-1]["error"]["type"] == "server_error"
    assert stream.done
    assert site.ended() == 0
    (row,) = site.usage()
    assert (row["failed"], row["lost"]) == (1, 0)
    assert row["output_tokens"] > 0


def test_a_killed_server_leaves_lost_rows_and_every_finished_one(site, ask) -> None:
    site.write(site.scripted(interval_ms=20))
    site.start()
    with site.client(site.key().secret) as client:
        usage = client.post("/v1/chat/completions", json=ask(max_tokens=5)).json()["usage"]
        with client.stream("POST", "/v1/chat/completions", json=ask(stream=True)) as got:
            stream = Stream(got)
            stream.read(5)
            site.stop(signal.SIGKILL)
            with pytest.raises(httpx.RemoteProtocolError):
                stream.read()
    (before,) = site.usage()
    assert (before["requests"], before["finished"]) == (1, 1)
    site.start()
    (after,) = site.usage()
    assert (after["requests"], after["finished"], after["lost"]) == (2, 1, 1)
    assert after["output_tokens"] == usage["completion_tokens"]


def test_sighup_reloads_and_keeps_the_old_configuration_where_the_new_is_bad(site, ask) -> None:
    site.write(site.scripted(interval_ms=20))
    site.start()
    with (
        site.client(site.key().secret) as client,
        client.stream("POST", "/v1/chat/completions", json=ask(stream=True)) as got,
    ):
        stream = Stream(got)
        stream.read(3)
        site.write(site.scripted(interval_ms=20, aliases=["fresh"]))
        site.process.send_signal(signal.SIGHUP)
        eventually(lambda: client_gets(site, "/v1/models/fresh") == 200)
        site.config.write_text("[[models]]\nmodel = 5")
        site.process.send_signal(signal.SIGHUP)
        eventually(lambda: "the old one stays" in site.log.read_text())
        assert client_gets(site, "/v1/models/fresh") == 200
        stream.read()
    assert (stream.finish, stream.done) == ("stop", True)


def client_gets(site, path: str) -> int:
    with site.client(site.key().secret) as client:
        return client.get(path).status_code


def test_several_processes_share_one_engine_and_survive_each_other(site, ask) -> None:
    site.write(site.native(), workers=2)
    site.start()
    children = site.children()
    assert len(children["chatwright.server.worker"]) == 2
    (engine,) = children["chatwright.engines.process"]
    admin = site.key("admin").secret
    issued = site.key()

    ends = threading.Event()
    texts: list[str] = []

    def load() -> None:
        while not ends.is_set():
            with site.client(issued.secret) as client:
                try:
                    answer = client.post("/v1/chat/completions", json=ask(max_tokens=8))
                except httpx.TransportError:
                    continue  # it was on the worker that was killed
            if answer.status_code == 200:
                texts.append(answer.json()["choices"][0]["message"]["content"])

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: len(texts) > 5)
        os.kill(children["chatwright.server.worker"][0], signal.SIGKILL)
        eventually(
            lambda: len(
                set(site.children().get("chatwright.server.worker", []))
                - set(children["chatwright.server.worker"])
            )
        )
        known = len(texts)
        eventually(lambda: len(texts) > known + 5)
        assert site.children()["chatwright.engines.process"] == [engine]
        os.kill(engine, signal.SIGKILL)
        eventually(lambda: site.children().get("chatwright.engines.process") not in (None, [engine]))
        known = len(texts)
        eventually(lambda: len(texts) > known + 5)
    finally:
        ends.set()
        for thread in threads:
            thread.join()
    assert len(set(texts)) == 1
    known = answered(site, admin)
    for _ in range(6):
        with site.client(issued.secret) as client:
            assert client.post("/v1/chat/completions", json=ask(max_tokens=1)).status_code == 200
    for _ in range(4):  # whichever process answers, it tells of both
        eventually(lambda: answered(site, admin) >= known + 6)
    with site.client(admin) as client:
        client.delete(f"/admin/v1/keys/{issued.key.id}")
    for _ in range(6):
        with site.client(issued.secret) as client:
            assert client.get("/v1/models").status_code == 401
    workers = site.children()["chatwright.server.worker"]
    site.stop(signal.SIGKILL)
    eventually(lambda: not any(alive(pid) for pid in workers))


def answered(site, secret: str) -> float:
    """Answers by /metrics."""
    with site.client(secret) as client:
        lines = client.get("/metrics").text.splitlines()
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in lines
        if line.startswith("chatwright:request_success_total{")
    )


def test_limits_of_several_processes_are_kept_in_redis_or_refused(site, ask, redis_server) -> None:
    from chatwright.accounts.account import KeyLimits

    issued = site.key(limits=KeyLimits(requests_per_minute=7))
    site.write(workers=2)
    command = [
        sys.executable,
        "-m",
        "chatwright",
        "serve",
        "--config",
        str(site.config),
        "--home",
        str(site.home),
    ]
    refused = subprocess.run([*command, "--port", "0"], check=False, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "redis_url" in refused.stderr
    site.write(workers=2, redis_url=redis_server.url)
    site.start()
    statuses = []
    for _ in range(12):
        with site.client(issued.secret) as client:
            answer = client.post("/v1/chat/completions", json=ask(max_tokens=1))
            statuses.append(answer.status_code)
            assert answer.headers["x-ratelimit-limit-requests"] == "7"
    assert statuses.count(200) == 7
    assert statuses.count(429) == 5


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_without_a_model_that_loads_ends_and_says_why(site, workers) -> None:
    site.write(site.native().replace("0.5", "1e9"), workers=workers)
    with pytest.raises(AssertionError, match="the server ended"):
        site.start()
    assert site.ended() == 1
    assert f"no model could be loaded; {DEFAULT_SLUG}: failed: " in site.log.read_text()


def test_a_server_goes_on_with_the_models_that_load(site, ask, default_gguf) -> None:
    broken = f'[[models]]\nmodel = "{default_gguf}"\nkv_cache_gib = 1e9\n'
    site.write(site.scripted(), broken)
    site.start()
    with site.client(site.key().secret) as client:
        assert client.post("/v1/chat/completions", json=ask(max_tokens=1)).status_code == 200
    (reason,) = readiness(site)["reasons"]
    assert "failed" in reason
