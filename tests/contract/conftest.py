"""A server as a user starts it, with the real model, and a client that keeps to the wire."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from tests.contract.on_ray import on_ray

from chatwright.models.catalog import DEFAULT_SLUG
from chatwright.models.manifest import InstalledModel

KEY = "contract-key"
MODEL = DEFAULT_SLUG
OPTIONS = ("--max-model-len", "8192", "--dtype", "float32", "--enforce-eager")
"""Of vLLM under test: numbers that neighbours in a batch move least, and a quick start."""
PARIS = [
    {"role": "user", "content": "What is the capital of Italy?"},
    {"role": "assistant", "content": "The capital of Italy is Rome."},
    {"role": "user", "content": "What is the capital of France?"},
]


@dataclass
class Streamed:
    """A stream, read to its end."""

    headers: httpx.Headers
    chunks: list[dict[str, Any]] = field(default_factory=list)
    comments: int = 0
    done: bool = False

    @property
    def choices(self) -> list[dict[str, Any]]:
        return [chunk["choices"][0] for chunk in self.chunks if chunk.get("choices")]

    @property
    def deltas(self) -> list[str]:
        return [choice["delta"].get("content") or "" for choice in self.choices]

    @property
    def content(self) -> str:
        return "".join(self.deltas)

    @property
    def logprobs(self) -> list[dict[str, Any]]:
        return [entry for choice in self.choices for entry in (choice["logprobs"] or {}).get("content", [])]

    @property
    def finish(self) -> tuple[str, Any]:
        ends = [choice for choice in self.choices if choice["finish_reason"] is not None]
        assert len(ends) == 1, "exactly one chunk ends an answer"
        return ends[0]["finish_reason"], ends[0]["stop_reason"]

    @property
    def usage(self) -> dict[str, Any] | None:
        return self.chunks[-1].get("usage")

    @property
    def error(self) -> dict[str, Any] | None:
        return self.chunks[-1].get("error") if self.chunks else None


class Api:
    """Posts chat requests: greedy, short, and to the default model where nothing else is said."""

    engine: str | None = None
    """Another server's engine, where that is under test."""

    def __init__(self, url: str, key: str = KEY) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60)

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *error: object) -> None:
        self.http.close()

    def body(self, **members: Any) -> dict[str, Any]:
        base = {"model": MODEL, "messages": PARIS, "temperature": 0, "max_tokens": 16}
        merged = base | members
        return {name: value for name, value in merged.items() if value is not ...}

    def post(self, **members: Any) -> httpx.Response:
        return judged(self.http.post("/v1/chat/completions", json=self.body(**members)))

    def ask(self, **members: Any) -> dict[str, Any]:
        """A whole answer that succeeds."""
        response = self.post(**members)
        assert response.status_code == 200, response.text
        return response.json()

    def choice(self, **members: Any) -> dict[str, Any]:
        return self.ask(**members)["choices"][0]

    def content(self, **members: Any) -> str:
        return self.choice(**members)["message"]["content"]

    def refused(self, **members: Any) -> dict[str, Any]:
        """The error of a request that gets 400."""
        response = self.post(**members)
        assert response.status_code == 400, response.text
        error = response.json()["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
        return error

    def stream(self, **members: Any) -> Streamed:
        body = self.body(stream=True, **members)
        with self.http.stream("POST", "/v1/chat/completions", json=body) as response:
            if response.status_code != 200:
                response.read()
            assert judged(response).status_code == 200, response.text
            return read_stream(response)


def judged(response: httpx.Response) -> httpx.Response:
    """A field that the engine under test can't honour is rightly refused, where field and engine are named."""
    if Api.engine is not None and response.status_code == 400:
        error = response.json()["error"]
        if error["code"] == "unsupported_parameter" and Api.engine in error["message"]:
            assert error["param"] in error["message"]
            pytest.skip(f"{Api.engine} can't honour {error['param']}, and says so")
    return response


def read_stream(response: httpx.Response) -> Streamed:
    streamed = Streamed(response.headers)
    for line in response.iter_lines():
        if line.startswith(":"):
            streamed.comments += 1
        elif line.startswith("data: ") and line != "data: [DONE]":
            assert not streamed.done
            streamed.chunks.append(json.loads(line.removeprefix("data: ")))
        elif line:
            assert line == "data: [DONE]", line
            streamed.done = True
    return streamed


@dataclass
class Live:
    """A running server process."""

    url: str
    home: Path


@contextlib.contextmanager
def serving(home: Path, *flags: str, **env: str) -> Iterator[Live]:
    """`chatwright serve` on a free port, from its banner to SIGTERM."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CHATWRIGHT_")}
    command = [sys.executable, "-m", "chatwright", "serve", "--home", str(home), "--port", "0", *flags]
    log = home / "server.log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=inherited | env
        ) as process,
    ):
        try:
            assert process.stdout is not None
            banner = ""
            while "\ncurl " not in banner:
                line = process.stdout.readline()
                assert line, f"the server ended: {log.read_text()}"
                banner += line
            url = banner.split(" at ", 1)[1].split("/v1", 1)[0]
            yield Live(url, home)
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="session")
def new_home(
    default_model: InstalledModel, model_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Path]:
    """Makes a CHATWRIGHT_HOME with a database of its own and the models of the tests."""

    def make() -> Path:
        home = tmp_path_factory.mktemp("home")
        (home / "models").symlink_to(model_home / "models")
        return home

    return make


@pytest.fixture(scope="session")
def start_server() -> Callable[..., contextlib.AbstractContextManager[Live]]:
    return serving


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The URL of the server that --engine asks for, started once; None where our own engines are under test."""
    engine = request.config.getoption("--engine")
    if engine in (None, "ray"):
        yield None
        return
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from benchmarks import home, servers

    Api.engine = engine
    with servers.vllm_for_chatwright("vLLM under test", home.hugging_face_folder(), *OPTIONS) as server:
        yield f"http://127.0.0.1:{server.address.port}"


@pytest.fixture(scope="session")
def refuses(backend: str | None) -> bool:
    """Whether the engine under test may refuse a field by name."""
    return backend is not None


@pytest.fixture(scope="session")
def clustered(request: pytest.FixtureRequest) -> bool:
    """Whether a Ray cluster is under test."""
    return request.config.getoption("--engine") == "ray"


@pytest.fixture(scope="session")
def made_id(clustered: bool) -> str:
    """A pattern of the ids of requests that bring none: a cluster's proxy makes UUIDs."""
    return r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}" if clustered else r"req_\w+"


@pytest.fixture(scope="session")
def live(new_home: Callable[[], Path], backend: str | None, clustered: bool) -> Iterator[Live]:
    """The server most tests talk to, on the default engine or the one that is under test."""
    home = new_home()
    if clustered:
        text = f'api_keys = ["another", "{KEY}"]\n[[models]]\nmodel = "{MODEL}"\n'
        with on_ray(home, 0, 2, text) as url:
            yield Live(url, home)
        return
    env = {"CHATWRIGHT_API_KEYS": f"another,{KEY}"}
    if backend is not None:
        one = {"model": MODEL, "engine": Api.engine, "backends": [{"url": backend}]}
        env["CHATWRIGHT_MODELS"] = json.dumps([one])
    with serving(home, **env) as server:
        yield server


@pytest.fixture
def elsewhere(
    live: Live, start_server: Callable[..., contextlib.AbstractContextManager[Live]], clustered: bool
) -> Iterator[str]:
    """Where another server takes over what the first one began; a cluster is several by itself."""
    if clustered:
        yield live.url
        return
    with start_server(live.home, CHATWRIGHT_API_KEYS=f"another,{KEY}") as other:
        yield other.url


@pytest.fixture(scope="session")
def live_openvino(new_home: Callable[[], Path], backend: str | None, clustered: bool) -> Iterator[Live]:
    """A second one with a small context, configured by a file: on the OpenVINO kernels, where ours are under test alone."""
    home = new_home()
    config = home / "chatwright.toml"
    engine = (
        f'"{Api.engine}"\nbackends = [{{ url = "{backend}" }}]'
        if backend
        else '"openvino"\nkv_cache_gib = 1.0'
    )
    common = f'api_keys = ["{KEY}"]\nstep_tokens = 256\n[[models]]\nmodel = "{MODEL}"\n'
    small = 'context_length = 512\naliases = ["tiny"]\n'
    if clustered:
        with on_ray(home, 1, 1, f"{common}{small}") as url:
            yield Live(url, home)
        return
    config.write_text(f"{common}engine = {engine}\n{small}")
    with serving(home, "--config", str(config)) as server:
        yield server


@pytest.fixture(scope="session")
def api(live: Live) -> Iterator[Api]:
    with Api(live.url) as api:
        yield api


@pytest.fixture(scope="session")
def api_openvino(live_openvino: Live) -> Iterator[Api]:
    with Api(live_openvino.url) as api:
        yield api


@pytest.fixture(scope="session")
def new_api() -> Callable[..., Api]:
    return Api


@pytest.fixture(scope="session")
def paris() -> list[dict[str, str]]:
    return PARIS


@pytest.fixture
def sdk(live: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=KEY, base_url=f"{live.url}/v1", max_retries=0) as client:
        yield client


@pytest.fixture
async def async_sdk(live: Live):
    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{live.url}/v1", max_retries=0) as client:
        yield client
