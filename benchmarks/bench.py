"""What every scenario is given: sizes, prompts, and servers and workers that start when first asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import TypeVar

from benchmarks import home, servers, tenants, workers
from benchmarks.prompts import Prompts

OURS, PLAIN, OURS_OPENVINO = "Chatwright", "Chatwright, speculation off", "Chatwright on OpenVINO"
BOUNDED, TENANTS = "Chatwright, a short queue", "Chatwright, projects with weights"
LLAMACPP, VLLM = "llama.cpp", "vLLM"
NATIVE, OPENVINO, GENAI = "our loop, native", "our loop, OpenVINO", "OpenVINO GenAI"
MAX_RUNNING = 64

T = TypeVar("T")


@dataclass(frozen=True)
class Scale:
    """How much is measured. `streams` at once in the main scenario, `prompt` and `new` tokens each."""

    rounds: int = 3
    short_rounds: int = 5
    streams: int = 32
    prompt: int = 130
    new: int = 128
    long_prompt: int = 512
    probes: int = 20
    context: int = 8000
    steps: int = 32
    batches: tuple[int, ...] = (1, 8, 16, 32, 64)
    contexts: tuple[int, ...] = (128, 512, 1024, 2048, 4096, 7936)
    users: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    seconds: float = 30
    """Of each load of the overload scenario."""
    burst: int = 200
    """Requests at once of the fairness scenario."""
    billion: tuple[int, int, int, int] = (22, 2048, 5632, 32)
    """Layers, hidden, FFN and heads of the synthetic model."""


FULL = Scale()
SMOKE = Scale(
    rounds=1,
    short_rounds=1,
    streams=3,
    prompt=40,
    new=8,
    long_prompt=64,
    probes=2,
    context=600,
    steps=3,
    batches=(1, 4),
    contexts=(128, 256),
    users=(1, 3),
    seconds=2,
    burst=12,
    billion=(2, 256, 512, 4),
)


@dataclass
class Bench:
    """Lives as long as a run; closing it ends every process it started."""

    scale: Scale
    seed: int
    _stack: ExitStack = field(default_factory=ExitStack)
    _servers: dict[str, servers.Server] = field(default_factory=dict)
    _workers: dict[str, workers.Worker] = field(default_factory=dict)
    _prompts: Prompts | None = None

    def __enter__(self) -> Bench:
        """Make sure of the model."""
        home.prepare()
        return self

    def __exit__(self, *_: object) -> None:
        """End all children."""
        self._stack.close()

    def server(self, name: str) -> servers.Server:
        """A server by name, started the first time. Raises NotStarted."""
        if name not in self._servers:
            self._servers[name] = self._stack.enter_context(_SERVERS[name](name))
        return self._servers[name]

    def add(self, name: str, server: AbstractContextManager[servers.Server]) -> servers.Server:
        """Start a server that isn't one of those known by name. Raises NotStarted."""
        self._servers[name] = self._stack.enter_context(server)
        return self._servers[name]

    def worker(self, name: str) -> workers.Worker:
        """An engine by name, started the first time. Raises WorkerFailed."""
        if name not in self._workers:
            self._workers[name] = self._stack.enter_context(_WORKERS[name](name))
        return self._workers[name]

    async def prompts(self, server: servers.Server) -> Prompts:
        """The source of prompts, calibrated on the first server that asks."""
        if self._prompts is None:
            self._prompts = Prompts(home.tokenizer_json(), self.seed)
            await self._prompts.calibrate(server.address)
        return self._prompts

    def versions(self) -> dict[str, str]:
        """Of the servers that ran."""
        return {name: server.version for name, server in self._servers.items()}


_SERVERS = {
    OURS: lambda name: servers.chatwright(name, home.HOME),
    PLAIN: lambda name: servers.chatwright(name, home.HOME, speculation=False),
    BOUNDED: lambda name: servers.chatwright(
        name, home.HOME, speculation=False, max_running_requests=8, max_waiting_requests=8
    ),
    TENANTS: lambda name: servers.chatwright(
        name, home.HOME, speculation=False, max_running_requests=8, database_url=tenants.URL
    ),
    OURS_OPENVINO: lambda name: servers.chatwright(name, home.HOME, engine="openvino", speculation=False),
    LLAMACPP: lambda name: servers.llamacpp(name, home.default_gguf()),
    VLLM: lambda name: servers.vllm(name, home.hugging_face_folder()),
}
_WORKERS = {
    NATIVE: lambda name: workers.engine(name, "native", home.default_gguf()),
    OPENVINO: lambda name: workers.engine(name, "openvino", home.own_openvino()),
    GENAI: lambda name: workers.genai(name, home.openvino_folder()),
}


async def rounds(
    count: int, peers: Sequence[str], one: Callable[[str], Awaitable[T]], *, warm_up: bool = True
) -> dict[str, list[T]]:
    """Ask each peer in turn, `count` times over, so that what else the machine does hits all alike.

    The first round warms up and is thrown away where `warm_up`.
    """
    found: dict[str, list[T]] = {peer: [] for peer in peers}
    for number in range(count + warm_up):
        for peer in peers:
            result = await one(peer)
            if number >= warm_up:
                found[peer].append(result)
    return found
