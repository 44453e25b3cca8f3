"""A `Runner` without a model: logits are a function of the tokens it finds in its own KV blocks.

Its "KV" are the token ids themselves, so a wrong block table changes the answer. Without `exact_recompute` a token
computed alone leaves another KV than one computed in a chunk, as real kernels' may, so that recomputing what was decoded
changes the answer too. Steps can be given the time a
real model's
would take (fixed, plus so much a row): for tests of the loop, and for measuring everything around an engine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from chatwright.engines.batching.runner import RunnerInfo, StepBatch, StepLogits

_MIX = np.uint64(0x9E3779B97F4A7C15)


class SimulatedRunner:
    """Deterministic pseudo-logits over `vocab_size` tokens. `step_seconds` and `row_seconds` pace it; zero runs flat
    out. After `fail_after` steps every step raises RuntimeError. With `batch_noise` logits depend on the batch's size.
    """

    def __init__(
        self,
        *,
        vocab_size: int = 512,
        context_length: int = 8192,
        block_size: int = 16,
        block_count: int = 1024,
        candidates: int = 64,
        exact_recompute: bool = True,
        step_seconds: float = 0.0,
        row_seconds: float = 0.0,
        fail_after: float | None = None,
        batch_noise: float = 0.0,
        reproducible: bool = True,
    ) -> None:
        self._info = RunnerInfo(
            name="simulated",
            fingerprint="simulated",
            vocab_size=vocab_size,
            context_length=context_length,
            block_size=block_size,
            block_count=block_count,
            candidates=min(candidates, vocab_size),
            exact_recompute=exact_recompute,
            reproducible=reproducible or (exact_recompute and not batch_noise),
        )
        self._blocks = np.full((block_count, block_size), -1, np.int32)
        self._step_seconds = step_seconds
        self._row_seconds = row_seconds
        self._steps_left = math.inf if fail_after is None else fail_after
        self._batch_noise = np.float32(batch_noise)
        self._noise = np.arange(1, vocab_size + 1, dtype=np.uint64) * _MIX

    @property
    def info(self) -> RunnerInfo:
        """Shapes for the scheduler."""
        return self._info

    def forward(self, batch: StepBatch) -> StepLogits:
        """Store the tokens, then hash each sampled row's whole context as its block table shows it."""
        self._steps_left -= 1
        if self._steps_left < 0:
            raise RuntimeError("The simulated kernels fail from this step on.")
        wanted = set(batch.sampled_indices.tolist())
        rows = []
        for index, past in enumerate(batch.past_lens.tolist()):
            begin, end = batch.subsequence_begins[index : index + 2].tolist()
            table = batch.block_indices[slice(*batch.block_indices_begins[index : index + 2])]
            alone = end - begin == 1 and not self._info.exact_recompute
            for offset, token in enumerate(batch.token_ids[begin:end].tolist()):
                position = past + offset
                size = self._info.block_size
                self._blocks[table[position // size], position % size] = ~token if alone else token
                if begin + offset in wanted:
                    rows.append(self._logits(self._blocks[table].reshape(-1)[: position + 1]))
        if self._step_seconds or self._row_seconds:
            time.sleep(self._step_seconds + self._row_seconds * len(batch.token_ids))
        logits = np.array(rows, np.float32).reshape(len(rows), self._info.vocab_size)
        logits += self._batch_noise * np.float32(len(batch.past_lens) - 1)
        ids = np.argsort(-logits, axis=1, kind="stable")[:, : self._info.candidates].astype(np.int32)
        return StepLogits(ids, np.take_along_axis(logits, ids, 1), logits)

    def _logits(self, context: np.ndarray) -> np.ndarray:
        weights: np.ndarray = np.arange(1, len(context) + 1, dtype=np.uint64) * _MIX
        state = np.bitwise_xor.reduce((context.astype(np.uint64) + weights) * (weights | np.uint64(1)))
        mixed = (self._noise ^ state) * (state | np.uint64(1))
        mixed ^= mixed >> np.uint64(29)
        logits: np.ndarray = ((mixed * _MIX) >> np.uint64(40)).astype(np.float32) / np.float32(1 << 21)
        return logits

    def copy_blocks(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Copy token ids."""
        for source, target in pairs:
            self._blocks[target] = self._blocks[source]

    def export_blocks(self, blocks: Sequence[int]) -> bytes:
        """Token ids as bytes."""
        return self._blocks[list(blocks)].tobytes()

    def import_blocks(self, blocks: Sequence[int], data: bytes) -> None:
        """The inverse of `export_blocks`."""
        if len(data) != len(blocks) * self._blocks[0].nbytes:
            raise ValueError(f"{len(data)} bytes don't fit {len(blocks)} blocks")
        self._blocks[list(blocks)] = np.frombuffer(data, np.int32).reshape(len(blocks), -1)

    def close(self) -> None:
        """Nothing to free."""
