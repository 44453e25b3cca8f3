"""Before the first request: warm kernels, and whether this machine keeps the promise that a seed gives the
same text always.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from chatwright.engines.batching.runner import Runner, StepBatch

_DECODED = 8
_LENGTH = 150
# over 128 tokens, where the attention of few sequences may be split over threads
_CROWD = 32


def _step(runner: Runner, parts: list[tuple[list[int], int, list[int]]]) -> np.ndarray:
    """Forward (tokens, past, blocks) of each sequence; the logits of each one's last row, copied."""
    begins = np.cumsum([0] + [len(tokens) for tokens, _, _ in parts]).astype(np.int32)
    batch = StepBatch(
        token_ids=np.concatenate([np.array(tokens, np.int32) for tokens, _, _ in parts]),
        positions=np.concatenate(
            [np.arange(past, past + len(tokens), dtype=np.int32) for tokens, past, _ in parts]
        ),
        past_lens=np.array([past for _, past, _ in parts], np.int32),
        subsequence_begins=begins,
        block_indices=np.concatenate([np.array(blocks, np.int32) for _, _, blocks in parts]),
        block_indices_begins=np.cumsum([0] + [len(blocks) for _, _, blocks in parts]).astype(np.int32),
        sampled_indices=begins[1:] - 1,
    )
    return np.array(runner.forward(batch).logits)


def _tokens(runner: Runner, seed: int, count: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(0, runner.info.vocab_size, count)]


def warm_up(runner: Runner) -> None:
    """Run the shapes that come first: kernels are slower the first time they see one."""
    size = runner.info.block_size
    count = min(128, runner.info.context_length - 1)
    blocks = list(range(-(-(count + 1) // size)))
    _step(runner, [(_tokens(runner, 0, count), 0, blocks)])
    _step(runner, [([1], count, blocks)])


class SelfCheck(NamedTuple):
    """`warnings` are for the operator. `broken`: the promise was seen not to hold, so the fingerprint may not make it."""

    warnings: tuple[str, ...] = ()
    broken: bool = False


def self_check(runner: Runner) -> SelfCheck:
    """Compare a prompt's logits alone, beside a neighbour and in three chunks, the last one small, and a decode step alone,
    beside another and in a full batch; where the runner says that decoding leaves the KV of prefilling, that too.
    """
    size = runner.info.block_size
    need = -(-(_LENGTH + 1) // size)
    if runner.info.block_count < 2 * need or runner.info.context_length <= _LENGTH:
        return SelfCheck(("The KV pool or context is too small for the determinism self-check.",))
    here, there = list(range(need)), list(range(need, 2 * need))
    mine, other = _tokens(runner, 1, _LENGTH), _tokens(runner, 2, _LENGTH - 7)
    alone = _step(runner, [(mine, 0, here)])[0]
    next_alone = _step(runner, [([7], _LENGTH, here)])[0]
    beside = _step(runner, [(other, 0, there), (mine, 0, here)])[1]
    next_beside = _step(runner, [([9], len(other), there), ([7], _LENGTH, here)])[1]
    next_in_crowd = _in_crowd(runner, ([7], _LENGTH, here), range(2 * need, runner.info.block_count))
    for begin, end in pairwise([0, _LENGTH // size // 2 * size, _LENGTH - 2, _LENGTH]):
        chunked = _step(runner, [(mine[begin:end], begin, here)])[0]
    warnings = []
    if not all(_same(alone, beside) and _same(next_alone, each) for each in (next_beside, next_in_crowd)):
        warnings.append("Logits depend on the batch on this machine: a seed may give other text under load.")
    if not _same(alone, chunked):
        warnings.append(
            "Logits depend on how a prompt is cut on this machine: a seed may give other text after a cache hit."
        )
    if runner.info.exact_recompute and not _same(next_alone, _after_decoding(runner, mine, there)):
        warnings.append(
            "Decoding leaves other KV than prefilling on this machine: a seed may give other text after preemption."
        )
    elif runner.info.exact_recompute and not _same(next_alone, _step(runner, [([*mine, 7], 0, there)])[0]):
        warnings.append(
            "A token's logits depend on those computed with it: a seed may give other text where drafts are verified."
        )
    return SelfCheck(tuple(warnings), broken=bool(warnings))


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(one, other)


def _in_crowd(runner: Runner, mine: tuple[list[int], int, list[int]], free: range) -> np.ndarray:
    """The logits of one decode step as the last of up to 32, the others in a free block each."""
    blocks = free[: _CROWD - 1]
    if blocks:
        _step(runner, [(_tokens(runner, block, 3), 0, [block]) for block in blocks])
    logits: np.ndarray = _step(runner, [*(([9], 3, [block]) for block in blocks), mine])[-1]
    return logits


def _after_decoding(runner: Runner, tokens: list[int], blocks: list[int]) -> np.ndarray:
    """The logits after `tokens` and a 7, the last tokens computed one at a time."""
    prompt = len(tokens) - _DECODED
    _step(runner, [(tokens[:prompt], 0, blocks)])
    for place in range(prompt, len(tokens)):
        _step(runner, [([tokens[place]], place, blocks)])
    logits: np.ndarray = _step(runner, [([7], len(tokens), blocks)])[0]
    return logits
