"""Client libraries in environments of their own (make test-clients), and servers for them to talk to."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatwright.models.catalog import DEFAULT_SLUG

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".venv-clients/bin/python"
KEY = "client-key"

Run = Callable[..., str]


@contextlib.contextmanager
def serving(home: Path, *flags: str) -> Iterator[str]:
    """`chatwright serve` on a free port, from its banner to SIGTERM; gives its base URL."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("CHATWRIGHT_")}
    command = [sys.executable, "-m", "chatwright", "serve", "--home", str(home), "--port", "0", *flags]
    log = home / "server.log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=env | {"CHATWRIGHT_API_KEYS": KEY},
        ) as process,
    ):
        try:
            assert process.stdout is not None
            banner = ""
            while "\ncurl " not in banner:
                line = process.stdout.readline()
                assert line, f"the server ended: {log.read_text()}"
                banner += line
            yield banner.split(" at ", 1)[1].split("/v1", 1)[0] + "/v1"
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="session")
def new_home(default_model: object, model_home: Path, tmp_path_factory: pytest.TempPathFactory):
    def make() -> Path:
        home = tmp_path_factory.mktemp("home")
        (home / "models").symlink_to(model_home / "models")
        return home

    return make


@pytest.fixture(scope="session")
def real(new_home: Callable[[], Path]) -> Iterator[str]:
    """A server with the default model, and `tiny` for its alias."""
    home = new_home()
    config = home / "chatwright.toml"
    config.write_text(f'[[models]]\nmodel = "{DEFAULT_SLUG}"\nkv_cache_gib = 0.5\n')
    with serving(home, "--config", str(config)) as url:
        yield url


@pytest.fixture
def scripted(new_home: Callable[[], Path]) -> Iterator[Callable[[list[str]], str]]:
    """Start a server that gives these answers in turn."""
    with contextlib.ExitStack() as servers:

        def start(answers: list[str]) -> str:
            home = new_home()
            script = home / "script.json"
            script.write_text(json.dumps(answers))
            config = home / "chatwright.toml"
            config.write_text(
                f'[[models]]\nmodel = "{DEFAULT_SLUG}"\nengine = "scripted"\nscript = "{script}"\n'
            )
            return servers.enter_context(serving(home, "--config", str(config)))

        yield start


def _run(command: list[str], url: str, **options: Any) -> str:
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ
        | {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY, "MODEL": DEFAULT_SLUG, "NO_PROXY": "127.0.0.1"},
        **options,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="session")
def run_python() -> Run:
    """Run Python source in the clients' environment; gives what it prints."""
    assert PYTHON.exists(), "make test-clients installs the client libraries"
    return lambda url, source, *args: _run([str(PYTHON), "-P", "-", *args], url, input=source)


@pytest.fixture(scope="session")
def run_node() -> Run:
    """Run a JavaScript module beside the npm packages; gives what it prints."""
    folder = HERE / "node"
    assert (folder / "node_modules").exists(), "make test-clients installs the client libraries"
    command = ["node", "--input-type=module", "-"]
    return lambda url, source, *args: _run([*command, *args], url, input=source, cwd=folder)
