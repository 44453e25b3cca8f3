"""Servers as an operator runs them: processes that are configured by a file, signalled and killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatwright.accounts.keys import IssuedKey, Keys, KeySettings
from chatwright.config import Settings
from chatwright.models.catalog import DEFAULT_SLUG
from chatwright.server.app import open_store

WORDS = " ".join(f"word{number}" for number in range(40))


class Site:
    """A home with a configuration and a database, and the server on it."""

    def __init__(self, home: Path, **always: str) -> None:
        """`always` are settings that every configuration has."""
        self.home = home
        self.config = home / "chatwright.toml"
        self.log = home / "server.log"
        self.always = always
        self.store, self.pepper = open_store(Settings(home=home, **always))
        self.process: subprocess.Popen[str] | None = None
        self.url = ""

    def write(self, *models: str, **settings: object) -> None:
        lines = [f"{name} = {json.dumps(value)}" for name, value in (settings | self.always).items()]
        self.config.write_text("\n".join([*lines, *(models or (self.scripted(),))]))

    def scripted(self, text: str = WORDS, interval_ms: float = 5, **more: object) -> str:
        script = self.home / "script.json"
        script.write_text(json.dumps([text]))
        values = {
            "model": DEFAULT_SLUG,
            "engine": "scripted",
            "script": str(script),
            "interval_ms": interval_ms,
        }
        return "[[models]]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in (values | more).items())

    def native(self) -> str:
        return f'[[models]]\nmodel = "{DEFAULT_SLUG}"\nkv_cache_gib = 0.5\n'

    def key(self, *scopes: str, project: str = "default", **settings: Any) -> IssuedKey:
        chosen = KeySettings("test", scopes=frozenset(scopes or ("inference",)), **settings)
        return Keys(self.store, self.pepper).create(chosen, project)

    def client(self, secret: str) -> httpx.Client:
        headers = {"authorization": f"Bearer {secret}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def usage(self, by: str = "key") -> list[dict[str, Any]]:
        command = [
            sys.executable,
            "-m",
            "chatwright",
            "usage",
            *("--config", str(self.config)),
            "--home",
            str(self.home),
            "--by",
            by,
            "--json",
        ]
        return json.loads(subprocess.check_output(command))

    def start(self, *flags: str) -> None:
        """From birth to the banner."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("CHATWRIGHT_")}
        command = [sys.executable, "-m", "chatwright", "serve", "--config", str(self.config)]
        command += ["--home", str(self.home), "--port", "0", *flags]
        with self.log.open("a") as stderr:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=env
            )
        assert self.process.stdout is not None
        banner = ""
        while "\ncurl " not in banner:
            line = self.process.stdout.readline()
            assert line, f"the server ended: {self.log.read_text()}"
            banner += line
        self.url = banner.split(" at ", 1)[1].split("/v1", 1)[0]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it, unless it has gone; its exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Wait for its end; the exit status."""
        process, self.process = self.process, None
        assert process is not None
        assert process.stdout is not None
        with process.stdout:
            return process.wait(60)

    def children(self) -> dict[str, list[int]]:
        """Pids of the server's descendants, by the module that they run."""
        assert self.process is not None
        found: dict[str, list[int]] = {}
        waiting = [self.process.pid]
        while waiting:
            parent = waiting.pop()
            for pid in map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()):
                waiting.append(pid)
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                if "-m" in words:
                    found.setdefault(words[words.index("-m") + 1], []).append(pid)
        return found


def body(stream: bool = False, **members: Any) -> dict[str, Any]:
    base = {"model": DEFAULT_SLUG, "messages": [{"role": "user", "content": "Count."}], "temperature": 0}
    return base | {"max_tokens": 200, "stream": stream} | members


@pytest.fixture
def site(tmp_path: Path, model_home: Path, default_model: object) -> Iterator[Site]:
    (tmp_path / "models").symlink_to(model_home / "models")
    site = Site(tmp_path)
    with contextlib.closing(site.store):
        yield site
        site.stop()


@pytest.fixture
def ask() -> Callable[..., dict[str, Any]]:
    return body
