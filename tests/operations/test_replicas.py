"""Several engine processes of one model with its real weights: killed under load, shared by API processes, in pools."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.slow

ENGINE = "chatwright.engines.process"
USERS, EACH, TOKENS = 6, 2, 64
RUNNING = 2


class Outcome:
    """What a client saw of a streamed answer; `tokens` by their logprobs, of which each has one."""

    def __init__(self) -> None:
        self.status = 0
        self.tokens: list[str] = []
        self.usage: dict[str, Any] = {}
        self.error = ""
        self.done = False

    def read(self, response: httpx.Response) -> None:
        self.status = response.status_code
        for line in response.iter_lines():
            self.done |= line == "data: [DONE]"
            if line.startswith("data: {"):
                self._take(json.loads(line.removeprefix("data: ")))

    def _take(self, event: dict[str, Any]) -> None:
        self.error = event.get("error", {}).get("code", self.error)
        self.usage = event.get("usage") or self.usage
        for choice in event.get("choices", []):
            self.tokens += [entry["token"] for entry in (choice["logprobs"] or {"content": []})["content"]]


class Load:
    """The same streams again and again, `USERS` at once."""

    def __init__(self, site, ask) -> None:
        self._site = site
        self._key = site.key().secret
        texts = [f"User {user} asks question {number}." for number in range(EACH) for user in range(USERS)]
        self._bodies = [
            ask(
                stream=True,
                messages=[{"role": "user", "content": text}],
                max_tokens=TOKENS,
                ignore_eos=True,
                skip_special_tokens=False,
                logprobs=True,
                stream_options={"include_usage": True},
            )
            for text in texts
        ]
        self.begun = threading.Semaphore(0)

    def run(self, label: str) -> list[Outcome]:
        """`begun` is released for each answer that has begun; the ledger knows them as `label` and a number."""

        def one(number: int) -> Outcome:
            found, body = Outcome(), self._bodies[number] | {"user": f"{label}{number}"}
            with (
                self._site.client(self._key) as client,
                client.stream("POST", "/v1/chat/completions", json=body) as got,
            ):
                self.begun.release()
                found.read(got)
            return found

        with ThreadPoolExecutor(USERS) as threads:
            return list(threads.map(one, range(len(self._bodies))))

    def ledger(self, label: str) -> list[dict[str, Any]]:
        """One row a request, in order."""
        rows = {row["user"]: row for row in requests_of(self._site) if row["user"].startswith(label)}
        return [rows[f"{label}{number}"] for number in range(len(self._bodies))]


def requests_of(site) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "chatwright", "requests", "list", "--limit", "200"]
    return json.loads(subprocess.check_output([*command, "--home", str(site.home), "--json"]))


def test_a_replica_killed_under_load_loses_and_doubles_nothing(site, ask) -> None:
    site.write(site.native() + "replicas = 2\n", max_running_requests=RUNNING)
    site.start()
    assert len(site.children()[ENGINE]) == 2
    load = Load(site, ask)
    right = load.run("before")
    assert all(one.done and len(one.tokens) == TOKENS for one in right)

    def kill() -> None:
        for _ in range(2 * RUNNING):  # both are full then, and requests wait in both
            load.begun.acquire()
        os.kill(site.children()[ENGINE][0], signal.SIGKILL)

    load.begun = threading.Semaphore(0)
    killer = threading.Thread(target=kill)
    killer.start()
    found = load.run("during")
    killer.join()
    broken = [one for one in found if one.error]
    assert 0 < len(broken) <= RUNNING, "what ran in the one that died, not what waited there"
    for one, expected, row in zip(found, right, load.ledger("during"), strict=True):
        assert one.status == 200
        assert one.tokens == expected.tokens[: len(one.tokens)], "none lost, none doubled"
        assert one.error in ("", "internal_error")
        assert one.tokens if one.error else one.done and len(one.tokens) == TOKENS
        assert (row["status"], row["output_tokens"]) == (
            "failed" if one.error else "finished",
            len(one.tokens),
        )


def test_api_processes_share_replicas(site, ask) -> None:
    """Each starts nothing itself, and routes alone."""
    site.write(site.native() + "replicas = 2\n", workers=2)
    site.start()
    assert {module: len(pids) for module, pids in site.children().items() if module == ENGINE} == {ENGINE: 2}
    load = Load(site, ask)
    assert all(one.done and len(one.tokens) == TOKENS for one in load.run("r"))
    assert {row["output_tokens"] for row in load.ledger("r")} == {TOKENS}
    with site.client(site.key("metrics").secret) as client:
        found = client.get("/metrics").text
    assert found.count("chatwright:replica_ready{") == 2
    assert 'replica="replica-1"} 1.0' in found


def test_pools_answer_as_one_engine_does(site, ask) -> None:
    texts = ["Name a colour.", "What is the capital of France?"]
    variants: list[dict[str, Any]] = [
        {},
        {"temperature": 1, "seed": 3, "logprobs": True, "top_logprobs": 2},
        {"max_tokens": 1},
        {"min_tokens": 8, "stop": ["e"]},
        {"response_format": {"type": "json_object"}},
    ]
    bodies = [
        ask(messages=[{"role": "user", "content": text}], max_tokens=12) | variant
        for text in texts
        for variant in variants
    ]

    def answers() -> list[Any]:
        key = site.key().secret
        with site.client(key) as client:
            replies = [client.post("/v1/chat/completions", json=body).json() for body in bodies]
        site.stop()
        return [(reply["choices"], reply["usage"]) for reply in replies]

    site.write(site.native() + "threads = 1\n", speculation=False)  # its counts hang on how fast steps are
    site.start()
    whole = answers()
    site.write(site.native() + "threads = 1\n[models.pools]\nprefill = 1\ndecode = 1\n", speculation=False)
    site.start()
    assert len(site.children()[ENGINE]) == 2
    assert answers() == whole
    assert list((site.home / "contexts").iterdir()) == []
