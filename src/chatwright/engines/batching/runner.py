"""The seam below batching: one forward pass over a flat batch of tokens with a paged KV cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Float32 = NDArray[np.float32]


class RunnerInfo(msgspec.Struct, frozen=True):
    """Shapes the scheduler needs. `candidates` is K, how many top logits leave the model for each sampled row.

    `exact_recompute` tells that KV made by decoding equals KV made by prefilling the same tokens, bit for bit. Where
    `reproducible` is false, equal is near enough: the operator wants speed, and the fingerprint says so.
    """

    name: str
    fingerprint: str
    vocab_size: int
    context_length: int
    block_size: int
    block_count: int
    candidates: int
    exact_recompute: bool
    reproducible: bool = True

    @property
    def recomputes(self) -> bool:
        """Whether KV may be computed anew, shared and verified however it came about."""
        return self.exact_recompute or not self.reproducible


class StepBatch(NamedTuple):
    """One step over B sequences and T tokens in all; prefill chunks and decode tokens mix freely (int32 arrays).

    Sequence b owns tokens `subsequence_begins[b]:subsequence_begins[b + 1]`, comes after `past_lens[b]` tokens
    already in the
    cache, and stores KV of position p in slot `p % block_size` of block
    `block_indices[block_indices_begins[b] + p // block_size]`. Logits are made for rows `sampled_indices` of
    the flat batch (S rows).
    """

    token_ids: Int32  # [T]
    positions: Int32  # [T]
    past_lens: Int32  # [B]
    subsequence_begins: Int32  # [B + 1]
    block_indices: Int32  # [sum of blocks]
    block_indices_begins: Int32  # [B + 1]
    sampled_indices: Int32  # [S]


class StepLogits:
    """What leaves the model for the S sampled rows. Valid until the next `forward`.

    `candidate_ids` [S, K] int32 by descending logit, ties by ascending id; `candidate_logits` [S, K] float32;
    `logits` [S, vocabulary] float32;
    `logsumexp` [S] float32 over the whole vocabulary, made on first use where the kernels didn't.
    """

    __slots__ = ("_logsumexp", "candidate_ids", "candidate_logits", "logits")

    def __init__(
        self,
        candidate_ids: Int32,
        candidate_logits: Float32,
        logits: Float32,
        logsumexp: Float32 | None = None,
    ) -> None:
        self.candidate_ids = candidate_ids
        self.candidate_logits = candidate_logits
        self.logits = logits
        self._logsumexp = logsumexp

    @property
    def logsumexp(self) -> Float32:
        """Natural log of the sum of exponentials of each row."""
        if self._logsumexp is None:
            peak = self.candidate_logits[:, :1]
            sums = [np.exp(row - top).sum() for row, top in zip(self.logits, peak, strict=True)]
            self._logsumexp = np.log(np.array(sums, np.float32)) + peak[:, 0]
        return self._logsumexp


class Runner(Protocol):
    """A model on some kernels. Called from one thread only."""

    @property
    def info(self) -> RunnerInfo:
        """Fixed after construction."""

    def forward(self, batch: StepBatch) -> StepLogits:
        """Run one step; writes KV of every token of the batch."""

    def copy_blocks(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Copy whole KV blocks (source, target)."""

    def export_blocks(self, blocks: Sequence[int]) -> bytes:
        """The KV of these blocks, in a form `import_blocks` of the same build takes."""

    def import_blocks(self, blocks: Sequence[int], data: bytes) -> None:
        """Fill these blocks. Raises ValueError where the data doesn't fit."""

    def close(self) -> None:
        """Free weights and cache."""
