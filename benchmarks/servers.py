"""Servers under test: started as their users start them, on the same weights, with all cores."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.client import Address
from benchmarks.home import WORK
from benchmarks.machine import ROOT, children, command_line, versions

BENCH_PYTHON = ROOT / ".venv-bench/bin/python"
RAY_PYTHON = ROOT / ".venv-ray/bin/python"
VLLM_PYTHON = ROOT / ".venv-vllm/bin/python"
SERVER_SETTINGS = ("speculation", "max_running_requests", "max_waiting_requests", "database_url")
SLOTS = 34  # llama.cpp: 32 streams and room for those that come on top, which would otherwise wait for a slot


class NotStarted(RuntimeError):
    """A server didn't come up; the message has the end of its log."""


@dataclass
class Server:
    """A running server and how to reach it."""

    name: str
    address: Address
    process: subprocess.Popen[bytes]
    version: str

    @property
    def pid(self) -> int:
        """The process that holds the port."""
        return self.process.pid

    def engine_pid(self) -> int:
        """Chatwright's engine process. Raises NotStarted where there is none."""
        for child in children(self.pid):
            if "chatwright.engines.process" in command_line(child):
                return child
        raise NotStarted(f"{self.name} has no engine process")


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def chatwright(
    name: str, home: Path, model: str = "smollm2", stats: Path | None = None, **settings: Any
) -> Iterator[Server]:
    """Ours. `settings` are those of the model, but for SERVER_SETTINGS; `stats` is a socket that tells the engine's."""
    port, key = free_port(), "cw-benchmark"
    above = {k: settings.pop(k) for k in SERVER_SETTINGS if k in settings}
    models = [{"model": model, "kv_cache_gib": 2.0} | settings]
    environment = {"CHATWRIGHT_API_KEYS": key, "CHATWRIGHT_MODELS": json.dumps(models)}
    environment |= {
        f"CHATWRIGHT_{k.upper()}": v if isinstance(v, str) else json.dumps(v) for k, v in above.items()
    }
    command = [sys.executable, "-m", "chatwright", "serve", "--home", str(home), "--port", str(port)]
    if stats:
        command = [sys.executable, "-m", "benchmarks.audited", str(home), str(port), str(stats)]
    with _running(name, command, environment) as process:
        wait_ready(process, name, f"http://127.0.0.1:{port}/readyz", 120, 0.02)
        told = json.loads(get(f"http://127.0.0.1:{port}/v1/models", key))
        address = Address(port, told["data"][0]["id"], key, {"skip_special_tokens": False})
        yield Server(name, address, process, versions(packages=("chatwright",))["chatwright"])


@contextmanager
def on_ray(
    name: str,
    home: Path,
    replicas: int = 1,
    overrides: Mapping[str, Any] | None = None,
    *,
    kv_cache_gib: float = 0.25,
    **settings: Any,
) -> Iterator[Server]:
    """Ours on a Ray cluster of its own; `overrides` are fields of EngineOptions, for simulated engines. One at a time."""
    port, key = free_port(), "cw-benchmark"
    placed = {"min_replicas": replicas, "cpus": 1, "resources": {"engine": 1}}
    models = [{"model": "smollm2", "kv_cache_gib": kv_cache_gib, "ray": placed}]
    given = {"home": str(home), "host": "127.0.0.1", "port": port, "shutdown_seconds": 5} | settings
    config = WORK / f"ray-{port}.json"  # the environment's form: JSON values
    WORK.mkdir(exist_ok=True)
    config.write_text(json.dumps(given | {"models": models, "api_keys": [key]}))
    script = str(ROOT / "benchmarks/peers/ray_cluster.py")
    command = [str(RAY_PYTHON), script, str(config), str(replicas), json.dumps(overrides or {})]
    with _running(name, command, {"PYTHONPATH": str(ROOT)}) as process:
        wait_ready(process, name, f"http://127.0.0.1:{port}/readyz", 240)
        told = json.loads(get(f"http://127.0.0.1:{port}/v1/models", key))
        address = Address(port, told["data"][0]["id"], key, {"skip_special_tokens": False})
        yield Server(name, address, process, f"ray {versions(RAY_PYTHON, ('ray',))['ray']}")


@contextmanager
def llamacpp(name: str, gguf: Path) -> Iterator[Server]:
    """llama.cpp's own server."""
    port = free_port()
    script = str(ROOT / "benchmarks/peers/llamacpp.py")
    threads = str(len(os.sched_getaffinity(0)))
    command = [str(BENCH_PYTHON), script, str(gguf), str(port), str(SLOTS), threads]
    with _running(name, command, {}) as process:
        wait_ready(process, name, f"http://127.0.0.1:{port}/health", 120)
        version = versions(BENCH_PYTHON, ("xllamacpp",))["xllamacpp"]
        yield Server(name, Address(port, gguf.stem), process, f"xllamacpp {version}")


@contextmanager
def vllm(
    name: str, folder: Path, *options: str, key: str = "none", environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """vLLM's CPU build; up after about two minutes. `options` are more of its own."""
    port = free_port()
    command = [
        *(str(VLLM_PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)),
        *("--served-model-name", "m", "--max-model-len", "2048", "--max-num-seqs", "64", "--port", str(port)),
        *options,
    ]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "2", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with _running(name, command, settings | dict(environment or {})) as process:
        wait_ready(process, name, f"http://127.0.0.1:{port}/health", 600)
        version = versions(VLLM_PYTHON, ("vllm-cpu",))["vllm-cpu"]
        address = Address(port, "m", key, extras={"skip_special_tokens": False})
        yield Server(name, address, process, f"vllm-cpu {version}")


@contextmanager
def vllm_for_chatwright(name: str, folder: Path, *options: str) -> Iterator[Server]:
    """vLLM as Chatwright wants it beneath itself: token ids on the wire, Lark grammars, our logits processors, priorities."""
    wanted = (
        *("--enable-scale-out", "--scheduling-policy", "priority", "--max-logprobs", "21"),
        *("--structured-outputs-config", '{"backend": "guidance"}', "--enable-prompt-tokens-details"),
        *("--logits-processors", "chatwright_vllm:Bans", "chatwright_vllm:Draws"),
        *("--generation-config", "vllm"),
    )
    with vllm(
        name, folder, *wanted, *options, environment={"PYTHONPATH": str(ROOT / "deploy/vllm")}
    ) as server:
        yield server


@contextmanager
def _running(name: str, command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a session of its own, its output in .bench/NAME.log; it and its children end with the block."""
    WORK.mkdir(exist_ok=True)
    with log_path(name).open("wb") as log:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CHATWRIGHT_")}
        process = subprocess.Popen(
            command, cwd=ROOT, env=clean | environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Gently, then whatever is left of its process group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def log_path(name: str) -> Path:
    """Where a server's output goes."""
    return WORK / f"{''.join(c if c.isalnum() else '-' for c in name)}.log"


def wait_ready(
    process: subprocess.Popen[bytes], name: str, url: str, seconds: float, every: float = 0.1
) -> None:
    """Return once `url` answers 200. Raises NotStarted."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            get(url)
        except OSError:  # refused, 503, too slow
            time.sleep(every)
        else:
            return
    end = log_path(name).read_text(errors="replace")[-1500:]
    raise NotStarted(f"{name} did not come up ({process.poll()}):\n{end}")


def get(url: str, key: str = "none") -> bytes:
    """The body of a GET. Raises OSError for anything but a 200."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        body: bytes = answer.read()
    return body
