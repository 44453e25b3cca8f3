"""The engine of a model that other servers run, from its `backends`."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from chatwright.config import ConfigError, Settings
from chatwright.core.engine import Engine
from chatwright.engines.remote.backend import Backend
from chatwright.engines.remote.contexts import Contexts
from chatwright.engines.remote.dialect import Dialect
from chatwright.engines.remote.engine import RemoteEngine
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
    """One server's engine, or all of them as one. Nothing is asked of them yet. Raises ConfigError."""
    assert one.engine is not None
    if any(backend.pool is not None for backend in one.backends):
        raise ConfigError(
            "models: backends: pool: prefill and decode pools aren't there for other servers' engines"
        )
    urls = [str(backend.url) for backend in one.backends]
    if len(set(urls)) < len(urls):
        raise ConfigError("models: backends: two have the same url")
    dialect = DIALECTS[one.engine]()
    contexts = Contexts() if settings.disaggregation else None
    patience = PATIENCE_ALONE if len(urls) == 1 else PATIENCE_TOGETHER

    def engine(backend: BackendSettings) -> RemoteEngine:
        return RemoteEngine(dialect, _backend(backend, tokenizer, context_length, patience), contexts)

    engines: dict[str, Engine] = {str(backend.url): engine(backend) for backend in one.backends}
    return next(iter(engines.values())) if len(engines) == 1 else ReplicaSet(engines)


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
