"""The check at start-up finds kernels that break the promise of a seed."""

from __future__ import annotations

import numpy as np
import pytest

from chatwright.engines.batching.runner import StepLogits
from chatwright.engines.batching.selfcheck import self_check, warm_up
from chatwright.engines.batching.simulated import SimulatedRunner


def shifted(logits, amount):
    return StepLogits(logits.candidate_ids, logits.candidate_logits + amount, logits.logits + amount)


class DependsOnBatch(SimulatedRunner):
    def forward(self, batch):
        return shifted(super().forward(batch), 1e-3 * (len(batch.past_lens) - 1))


class DependsOnChunks(SimulatedRunner):
    def forward(self, batch):
        middle = batch.past_lens[0] > 0 and len(batch.token_ids) > 1 and len(batch.past_lens) == 1
        return shifted(super().forward(batch), 1e-3 * middle)


class DependsOnCrowd(SimulatedRunner):
    def forward(self, batch):
        return shifted(super().forward(batch), 1e-3 * (len(batch.past_lens) > 16))


class DependsOnFewRows(SimulatedRunner):
    """Another kernel for less than five tokens, as OpenVINO has on some Xeons."""

    def forward(self, batch):
        return shifted(super().forward(batch), 1e-3 * (len(batch.token_ids) < 5))


class DependsOnDecoding(SimulatedRunner):
    """Leaves other KV for a token computed alone, but says it doesn't."""

    def __init__(self, **shapes) -> None:
        super().__init__(**{**shapes, "exact_recompute": False})
        self.real = SimulatedRunner(**shapes)

    @property
    def info(self):
        return self.real.info


@pytest.mark.parametrize("exact", [True, False])
def test_kernels_that_keep_the_promise_pass(exact):
    assert self_check(SimulatedRunner(exact_recompute=exact)) == ()


@pytest.mark.parametrize(
    ("runner", "word"),
    [
        (DependsOnBatch, "batch"),
        (DependsOnCrowd, "batch"),
        (DependsOnChunks, "cut"),
        (DependsOnDecoding, "Decoding"),
    ],
)
def test_kernels_that_break_it_are_told_of(runner, word):
    warnings = self_check(runner())
    assert len(warnings) == 1
    assert word in warnings[0]


def test_kernels_with_another_way_for_few_rows_are_told_of():
    batch, cut = self_check(DependsOnFewRows())
    assert "batch" in batch
    assert "cut" in cut


def test_a_pool_too_small_for_the_check_is_told_of():
    (warning,) = self_check(SimulatedRunner(block_count=4))
    assert "too small" in warning


@pytest.mark.parametrize("context", [8, 64, 8192])
def test_warming_up_fits_any_context(context):
    runner = SimulatedRunner(context_length=context, block_count=-(-context // 16) + 1)
    warm_up(runner)
    assert np.isfinite(runner._blocks).all()
