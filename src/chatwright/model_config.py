"""Settings of one model ([[models]] in the file): its engine, where that runs, what it costs.

Owns: their defaults and ranges. `config.py` reads them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    NonNegativeInt,
    PositiveInt,
    SecretStr,
    model_validator,
)

from chatwright.metering import LimitSettings, PriceSettings

WIRE_ENGINES = ("vllm", "sglang", "trtllm")
"""Engines of other servers, spoken to over HTTP in token ids."""
Share = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class BackendSettings(BaseModel):
    """One server of another engine. `model` is the name it serves the model under."""

    model_config = ConfigDict(extra="forbid")

    url: HttpUrl = Field(description="Where the server is, without /v1.")
    model: str | None = Field(
        default=None, min_length=1, description="What it calls the model; default: the first it lists."
    )
    api_key: SecretStr | None = Field(default=None, description="Key it wants; default: none.")
    pool: Literal["prefill", "decode"] | None = Field(
        default=None, description="For disaggregated serving; default: does both."
    )
    timeout_seconds: float = Field(
        default=600, gt=0, allow_inf_nan=False, description="Longest silence within an answer."
    )
    connections: PositiveInt = Field(default=512, description="Most requests sent to it at once.")


class PoolSettings(BaseModel):
    """Disaggregated serving: a request's prompt is computed in one pool, its answer in the other."""

    model_config = ConfigDict(extra="forbid")

    prefill: PositiveInt = Field(default=1, le=64, description="Engine processes that prefill.")
    decode: PositiveInt = Field(default=1, le=64, description="Engine processes that decode.")


class RaySettings(BaseModel):
    """Replicas of a model on a Ray cluster, and the nodes they may run on."""

    model_config = ConfigDict(extra="forbid")

    min_replicas: PositiveInt = Field(default=1, le=4096, description="Replicas kept even when idle.")
    max_replicas: PositiveInt | None = Field(
        default=None, le=4096, description="Most replicas; default: `min_replicas`, which is no autoscaling."
    )
    target_requests: Share = Field(
        default=32, description="Requests a replica, running and waiting, above which one is added."
    )
    target_kv_use: float = Field(
        default=0.8, gt=0, le=1, description="Part of the KV blocks in use above which a replica is added."
    )
    upscale_seconds: float = Field(
        default=5, ge=0, allow_inf_nan=False, description="How long too much must last before one is added."
    )
    downscale_seconds: float = Field(
        default=120,
        ge=0,
        allow_inf_nan=False,
        description="How long too little must last before one is taken away.",
    )
    cpus: Share = Field(default=1, description="CPUs reserved for each replica (num_cpus).")
    gpus: float = Field(
        default=0, ge=0, allow_inf_nan=False, description="GPUs reserved for each replica (num_gpus)."
    )
    command: list[str] = Field(
        default=[],
        description="Server of engine vllm, sglang or trtllm that each replica starts on its node, instead of `backends`:"
        " a program and its arguments, in which {host}, {port} and {key} stand for what it must listen on and accept.",
    )
    resources: dict[str, Share] = Field(
        default={}, description="Custom resources of the nodes that may hold a replica."
    )
    labels: dict[str, str] = Field(default={}, description="Labels of the nodes that may hold a replica.")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas must be at least min_replicas, {self.min_replicas}")
        return self


class ModelSettings(BaseModel):
    """One model to serve. `model` is a slug or alias of the catalog, of a pulled model, or a path to a .gguf or IR folder."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(min_length=1, description="Slug, alias or path of the model.")
    aliases: list[str] = Field(default=[], description="More names it answers to.")
    engine: Literal["native", "openvino", "scripted", "vllm", "sglang", "trtllm"] | None = Field(
        default=None,
        description="Kernels to run it on, another server's engine (`backends`), or `scripted` for given answers;"
        " default: the fastest kernels available.",
    )
    backends: list[BackendSettings] = Field(
        default=[],
        description="Servers of engine vllm, sglang or trtllm that have the model ([[models.backends]]).",
    )
    replicas: PositiveInt = Field(default=1, le=64, description="Engine processes of this model.")
    pools: PoolSettings | None = Field(
        default=None,
        description="Engine processes that only prefill, and others that only decode ([models.pools]), instead of `replicas`.",
    )
    ray: RaySettings = Field(
        default_factory=RaySettings, description="How `chatwright deploy` places it ([models.ray])."
    )
    context_length: PositiveInt | None = Field(
        default=None, description="Tokens a sequence may hold; default: the model's."
    )
    threads: PositiveInt | None = Field(
        default=None, description="Threads of each engine process; default: all cores, divided among them."
    )
    price: PriceSettings = Field(
        default_factory=PriceSettings, description="What its tokens cost; default: nothing."
    )
    limits: LimitSettings = Field(
        default_factory=LimitSettings, description="Limits that all its callers share; default: none."
    )
    kv_cache_gib: float | None = Field(
        default=None,
        gt=0,
        description="Memory for KV blocks in GiB, of each engine process; default: a quarter of what is free, at most 8,"
        " divided among them.",
    )
    reproducible: bool = Field(
        default=True,
        description="Keep the promise of `seed` in any batch and after any preemption. False is faster on the OpenVINO kernels,"
        " and `system_fingerprint` says so; the native ones keep it at full speed.",
    )
    script: Path | None = Field(
        default=None,
        description="JSON file with the answers of a scripted engine: an array of texts or arrays of token ids.",
    )
    interval_ms: float = Field(
        default=0, ge=0, allow_inf_nan=False, description="Pause of a scripted engine before each token."
    )
    fail_after: NonNegativeInt | None = Field(
        default=None, description="Tokens after which each answer of a scripted engine breaks off."
    )

    @model_validator(mode="after")
    def _scripted(self) -> Self:
        given = {"script", "interval_ms", "fail_after"} & self.model_fields_set
        if self.engine == "scripted" and self.script is None:
            raise ValueError('script is missing: engine = "scripted" needs the file with its answers')
        if self.engine != "scripted" and given:
            raise ValueError(f'{min(given)} is only for engine = "scripted"')
        remote = self.engine in WIRE_ENGINES
        if not self.reproducible and (remote or self.engine == "scripted"):
            raise ValueError("reproducible is for engine processes of this server")
        self._servers(remote=remote)
        if (remote or self.engine == "scripted") and self.pools is not None:
            raise ValueError("pools is for engine processes of this server; give each of backends a pool")
        if self.pools is not None and self.replicas > 1:
            raise ValueError("pools and replicas: give one of them")
        if self.engine == "scripted" and self.replicas > 1:
            raise ValueError("replicas is for engine processes; a scripted engine has none")
        if remote and self.replicas > 1:
            raise ValueError("replicas is for engine processes of this server; list each server in backends")
        return self

    def _servers(self, *, remote: bool) -> None:
        """Other servers are there already, or are started by replicas on a cluster."""
        command = self.ray.command
        if remote and not self.backends and not command:
            raise ValueError(f'backends is missing: engine = "{self.engine}" needs at least one server')
        if (self.backends or command) and not remote:
            name = "backends" if self.backends else "ray.command"
            raise ValueError(f"{name} is only for engine = {' or '.join(WIRE_ENGINES)}")
        if self.backends and command:
            raise ValueError("backends and ray.command: give one of them")
        if command and not any("{port}" in word for word in command):
            raise ValueError("ray.command must tell the server its port, by an argument with {port}")
