"""The engine of a model that other servers run, from its `backends`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType

from pydantic import HttpUrl, SecretStr

from chatwright.config import ConfigError, Settings
from chatwright.core.engine import Engine
from chatwright.engines.remote.backend import Backend
from chatwright.engines.remote.contexts import Contexts
from chatwright.engines.remote.dialect import Dialect
from chatwright.engines.remote.engine import RemoteEngine
from chatwright.engines.replicas.contexts import Contexts as Shared
from chatwright.engines.replicas.pools import PooledEngine
from chatwright.engines.replicas.replica_set import ReplicaSet
from chatwright.engines.sglang import Sglang
from chatwright.engines.trtllm import Trtllm
from chatwright.engines.vllm import Vllm
from chatwright.model_config import BackendSettings, ModelSettings
from chatwright.tokenization.tokenizer import Tokenizer

DIALECTS: MappingProxyType[str, Callable[[], Dialect]] = MappingProxyType(
    {"vllm": Vllm, "sglang": Sglang, "trtllm": Trtllm}
)
PATIENCE_ALONE, PATIENCE_TOGETHER = 600.0, 10.0
"""Seconds a server may take to come up: one of several is tried again later."""


def remote_engine(
    one: ModelSettings, settings: Settings, tokenizer: Tokenizer, context_length: int
) -> Engine:
    """One server's engine, or all of them as one: equals, or pools for the two halves of a request. Nothing is asked of them
    yet. Raises ConfigError.
    """
    assert one.engine is not None
    if not one.backends:
        raise ConfigError(
            f"models: {one.model}: ray.command is for chatwright deploy; list servers in backends"
        )
    pools = _pools(one.backends)
    dialect = DIALECTS[one.engine]()
    contexts = Contexts() if settings.disaggregation or pools else None
    patience = PATIENCE_ALONE if len(one.backends) == 1 else PATIENCE_TOGETHER
    engines: dict[str, Engine] = {
        str(told.url): RemoteEngine(dialect, _backend(told, tokenizer, context_length, patience), contexts)
        for told in one.backends
    }
    if len(engines) < len(one.backends):
        raise ConfigError("models: backends: two have the same url")
    if pools and contexts is not None:
        prefill, decode = ({url: engines[url] for url in pools[pool]} for pool in ("prefill", "decode"))
        return PooledEngine(prefill, decode, contexts, serves_contexts=settings.disaggregation)
    if len(engines) == 1:
        return next(iter(engines.values()))
    return ReplicaSet(engines, contexts=Shared(contexts) if contexts is not None else None)


class StartedServers:
    """Servers that replicas on a cluster start for a model (`ray.command`): each one's engine, and all of them as one."""

    def __init__(
        self, one: ModelSettings, settings: Settings, tokenizer: Tokenizer, context_length: int
    ) -> None:
        assert one.engine is not None
        self._dialect = DIALECTS[one.engine]()
        self._tokenizer = tokenizer
        self._context_length = context_length
        self._contexts = Contexts() if settings.disaggregation else None

    def engine(self, url: str, key: str | None, patience: float = PATIENCE_TOGETHER) -> RemoteEngine:
        """Of the server at `url`, which may take `patience` seconds to come up."""
        told = BackendSettings(url=HttpUrl(url), api_key=SecretStr(key) if key else None)
        backend = _backend(told, self._tokenizer, self._context_length, patience)
        return RemoteEngine(self._dialect, backend, self._contexts)

    def together(self) -> ReplicaSet:
        """A set for them, which has none yet."""
        return ReplicaSet(contexts=Shared(self._contexts) if self._contexts is not None else None)


def _pools(backends: Sequence[BackendSettings]) -> dict[str, list[str]]:
    """URLs by pool; empty where none has one. Raises ConfigError."""
    found: dict[str, list[str]] = {}
    for told in backends:
        found.setdefault(told.pool or "", []).append(str(told.url))
    if found.keys() == {""}:
        return {}
    if found.keys() != {"prefill", "decode"}:
        raise ConfigError(
            'models: backends: pool: give each one "prefill" or "decode", and at least one of both'
        )
    return found


def _backend(told: BackendSettings, tokenizer: Tokenizer, context_length: int, patience: float) -> Backend:
    return Backend(
        url=str(told.url).rstrip("/"),
        vocab_size=tokenizer.vocab_size,
        eos_token_ids=tuple(tokenizer.eos_token_ids),
        context_length=context_length,
        model=told.model,
        api_key=told.api_key.get_secret_value() if told.api_key else None,
        silence=told.timeout_seconds,
        connections=told.connections,
        patience=patience,
    )
