"""Steps of the model alone: the native kernels, with and without AMX tiles where there are any, beside OpenVINO's, interleaved
in one run, with the machine's floors.

    python benchmarks/kernels.py model.gguf [--openvino openvino_model.xml] [--threads N] [--rounds R] [--synthetic GB]

Every round runs each runner once on the same batch, so that noise of a shared machine hits all alike; medians and the best
of the rounds are printed. `--synthetic 1.0` adds a random model of about that many billion weights (native only).
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np

from chatwright.engines.batching.runner import Runner, StepBatch
from chatwright.engines.native.library import load
from chatwright.engines.native.runner import NativeRunner, kv_bytes_per_token, model_shape

STREAMS, CONTEXTS, BLOCK = (1, 8, 16, 32, 64), (8, 128, 512), 32


def int32(values: object) -> np.ndarray:
    return np.asarray(values, np.int32)


def decode_batch(streams: int, context: int) -> StepBatch:
    """One new token for each of `streams` sequences that hold `context` tokens already."""
    blocks = context // BLOCK + 1
    return StepBatch(
        token_ids=int32(range(100, 100 + streams)),
        positions=int32([context] * streams),
        past_lens=int32([context] * streams),
        subsequence_begins=int32(range(streams + 1)),
        block_indices=int32(range(streams * blocks)),
        block_indices_begins=int32(range(0, streams * blocks + 1, blocks)),
        sampled_indices=int32(range(streams)),
    )


def prefill_batch(tokens: int) -> StepBatch:
    """A prompt of `tokens` tokens, its last row sampled."""
    blocks = -(-tokens // BLOCK)
    return StepBatch(
        token_ids=int32(np.arange(tokens) % 1000 + 100),
        positions=int32(range(tokens)),
        past_lens=int32([0]),
        subsequence_begins=int32([0, tokens]),
        block_indices=int32(range(blocks)),
        block_indices_begins=int32([0, blocks]),
        sampled_indices=int32([tokens - 1]),
    )


def interleave(runners: dict[str, Runner], batch: StepBatch, rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each step, [rounds] per runner; a first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds + 1):
        for name, runner in runners.items():
            begin = time.perf_counter()
            runner.forward(batch)
            seconds[name].append(time.perf_counter() - begin)
    return {name: np.array(values[1:]) for name, values in seconds.items()}


def report(title: str, runners: dict[str, Runner], batch: StepBatch, rounds: int) -> None:
    tokens, cells, first = len(batch.token_ids), [], None
    for name, seconds in interleave(runners, batch, rounds).items():
        median = float(np.median(seconds))
        first = first or median
        ratio = "" if first == median else f", native is {median / first:.2f}x as fast"
        cells.append(
            f"{name} {median * 1e3:7.2f} ms ({tokens / median:6.0f} tok/s, best {tokens / seconds.min():6.0f}{ratio})"
        )
    print(f"{title:22s} " + " | ".join(cells), flush=True)


def print_floors(threads: int, weight_megabytes: int) -> None:
    library = load()
    dot = max(library.cw_floor_dot(threads) for _ in range(3))
    read = max(library.cw_floor_read(threads, weight_megabytes) for _ in range(3))
    print(
        f"floors with {threads} threads: int8 dot {dot:.0f} GOP/s, reading {weight_megabytes} MB {read:.1f} GB/s"
    )


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def write_random_model(path: Path, billions: float) -> Path:
    """Llama-like, Q4_1, random weights: heads of 64, four queries a KV head; only speed is asked of it."""
    hidden, ffn, heads, vocab = 2048, 5632, 32, 32000
    layers = max(1, round((billions * 1e9 - vocab * hidden) / (hidden * (2.5 * hidden + 3 * ffn))))
    writer, rng = gguf.GGUFWriter(path, "llama"), np.random.default_rng(0)
    writer.add_block_count(layers)
    writer.add_context_length(4096)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads // 4)
    writer.add_layer_norm_rms_eps(1e-5)
    kind = gguf.GGMLQuantizationType

    def matrix(name: str, rows: int, columns: int) -> None:
        blocks = rng.integers(0, 256, (rows, columns // 32, 20), np.uint8)
        scale = np.array([0.02, -0.15], np.float16) / np.sqrt(columns)
        blocks[:, :, :4] = scale.astype(np.float16).view(np.uint8)
        writer.add_tensor(name, blocks.reshape(rows, -1), raw_dtype=kind.Q4_1)

    embedding = rng.integers(0, 256, (vocab, hidden // 32, 34), np.uint8)
    embedding[:, :, :2] = np.array([0.001], np.float16).view(np.uint8)
    writer.add_tensor("token_embd.weight", embedding.reshape(vocab, -1), raw_dtype=kind.Q8_0)
    writer.add_tensor("output_norm.weight", np.ones(hidden, np.float32))
    for layer in range(layers):
        shapes = {
            "attn_q": (hidden, hidden),
            "attn_k": (hidden // 4, hidden),
            "attn_v": (hidden // 4, hidden),
        }
        shapes |= {
            "attn_output": (hidden, hidden),
            "ffn_gate": (ffn, hidden),
            "ffn_up": (ffn, hidden),
            "ffn_down": (hidden, ffn),
        }
        for name, (rows, columns) in shapes.items():
            matrix(f"blk.{layer}.{name}.weight", rows, columns)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(hidden, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def measure(
    name: str, open_runners: Callable[[], dict[str, Runner]], streams: tuple[int, ...], rounds: int
) -> None:
    begin = time.perf_counter()
    runners = open_runners()
    print(f"\n{name}: {', '.join(runners)} (opened in {time.perf_counter() - begin:.2f} s)")
    for count in streams:
        for context in CONTEXTS:
            report(
                f"{count} streams at {context}",
                runners,
                decode_batch(count, context),
                max(8, rounds // count),
            )
    report("prefill 512", runners, prefill_batch(512), 8)
    report("prefill 130", runners, prefill_batch(130), 12)
    for runner in runners.values():
        runner.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--openvino", type=Path, help="openvino_model.xml made from the same weights")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--synthetic", type=float, metavar="BILLIONS")
    options = parser.parse_args()
    cores, now = len(os.sched_getaffinity(0)), datetime.datetime.now(datetime.UTC)
    print(f"{processor()}, {cores} cores, {now:%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.1f}")
    print_floors(options.threads, 256)
    shape = model_shape(options.gguf)
    print(f"KV cache: {kv_bytes_per_token(shape)} bytes a token")
    blocks = max(STREAMS) * (max(CONTEXTS) // BLOCK + 1)

    def both() -> dict[str, Runner]:
        runners: dict[str, Runner] = {
            "native": NativeRunner(options.gguf, block_count=blocks, threads=options.threads)
        }
        if load().cw_wide_available():
            narrow = NativeRunner(options.gguf, block_count=blocks, threads=options.threads)
            load().cw_model_wide_from(narrow._model, 0)  # the same kernels as on a processor without AMX
            runners["native, no tiles"] = narrow
        if options.openvino:
            from chatwright.engines.openvino.runner import OpenVINORunner  # noqa: PLC0415

            runners["openvino"] = OpenVINORunner(
                options.openvino, context_length=shape.context, block_count=blocks, threads=options.threads
            )
        return runners

    measure(options.gguf.name, both, STREAMS, options.rounds)
    if options.synthetic:
        with tempfile.TemporaryDirectory() as folder:
            path = write_random_model(Path(folder) / "random.gguf", options.synthetic)
            measure(
                f"random weights, {path.stat().st_size / 1e9:.2f} GB",
                lambda: {"native": NativeRunner(path, block_count=blocks, threads=options.threads)},
                (1, 8, 32),
                max(8, options.rounds // 10),
            )


if __name__ == "__main__":
    main()
