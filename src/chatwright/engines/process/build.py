"""Runners by name; kernels are imported only where they are used."""

from __future__ import annotations

import time
from pathlib import Path

from chatwright.core.errors import EngineFailed
from chatwright.engines.batching.runner import Runner
from chatwright.engines.process.options import EngineOptions


def build_runner(options: EngineOptions) -> Runner:
    """The runner that `options.kind` names, its block pool as large as `options.kv_bytes` allows. Raises
    EngineFailed.
    """
    match options.kind:
        case "native":
            return _native(options)
        case "openvino":
            return _openvino(options)
        case "simulated":
            return _simulated(options)
        case _:
            raise EngineFailed(f"There is no engine called {options.kind!r}.")


def _block_count(options: EngineOptions, block_bytes: int, block_size: int) -> int:
    count = options.kv_bytes // block_bytes
    least = -(-options.context_length // block_size) + 1
    if count < least:
        raise EngineFailed(
            f"kv_cache_bytes = {options.kv_bytes} holds {count} blocks of {block_size} tokens; "
            f"one sequence of context_length = {options.context_length} needs {least} ({least * block_bytes} bytes)."
        )
    return count


def _native(options: EngineOptions) -> Runner:
    from chatwright.engines.native.runner import NativeRunner, kv_bytes_per_token, model_shape  # noqa: PLC0415

    path = Path(options.model_path)
    size = 32
    try:
        block_bytes = size * kv_bytes_per_token(model_shape(path))
        return NativeRunner(
            path,
            block_count=_block_count(options, block_bytes, size),
            block_size=size,
            threads=options.threads,
            context_length=options.context_length,
        )
    except (OSError, ValueError, MemoryError) as error:
        raise EngineFailed(f"The native kernels can't run {path.name}: {error}") from error


def _openvino(options: EngineOptions) -> Runner:
    from chatwright.engines.openvino.runner import BLOCK_SIZE, OpenVINORunner, block_bytes  # noqa: PLC0415

    model_xml = Path(options.model_path)
    count = _block_count(options, block_bytes(model_xml), BLOCK_SIZE)
    return OpenVINORunner(
        model_xml,
        context_length=options.context_length,
        block_count=count,
        threads=options.threads,
        reproducible=options.reproducible,
    )


def _simulated(options: EngineOptions) -> Runner:
    from chatwright.engines.batching.simulated import SimulatedRunner  # noqa: PLC0415

    numbers = options.simulated
    time.sleep(numbers.get("load_seconds", 0.0))
    return SimulatedRunner(
        vocab_size=int(numbers.get("vocab_size", 512)),
        context_length=options.context_length,
        block_count=_block_count(options, 1024, 16),
        exact_recompute=bool(numbers.get("exact_recompute", True)),
        step_seconds=numbers.get("step_seconds", 0.0),
        row_seconds=numbers.get("row_seconds", 0.0),
        fail_after=numbers.get("fail_after"),
        batch_noise=numbers.get("batch_noise", 0.0),
        reproducible=options.reproducible,
    )
