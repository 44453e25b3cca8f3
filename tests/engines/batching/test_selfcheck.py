"""The check at start-up finds kernels that break the promise of a seed."""

from __future__ import annotations

import numpy as np
import pytest

from chatwright.engines.batching.engine import engine_info
from chatwright.engines.batching.runner import StepLogits
from chatwright.engines.batching.selfcheck import SelfCheck, self_check, warm_up
from chatwright.engines.batching.simulated import SimulatedRunner


def shifted(logits, amount):
    return StepLogits(logits.candidate_ids, logits.candidate_logits + amount, logits.logits + amount)


class DependsOnBatch(SimulatedRunner):
    def forward(self, batch):
        return shifted(super().forward(batch), 1e-3 * (len(batch.past_lens) - 1))


class DependsOnCrowd(SimulatedRunner):
    """As kernels that take another path from so many rows on."""

    def forward(self, batch):
        return shifted(super().forward(batch), 1e-3 * (len(batch.past_lens) > 16))


class DependsOnRows(SimulatedRunner):
    """As kernels for single tokens that add up in another order."""

    def forward(self, batch):
        lone = np.diff(batch.subsequence_begins).max() == 1
        return shifted(super().forward(batch), 1e-3 * lone)


class DependsOnChunks(SimulatedRunner):
    def forward(self, batch):
        middle = batch.past_lens[0] > 0 and len(batch.token_ids) > 1 and len(batch.past_lens) == 1
        return shifted(super().forward(batch), 1e-3 * middle)


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
    assert self_check(SimulatedRunner(exact_recompute=exact)) == SelfCheck()


@pytest.mark.parametrize(
    ("runner", "word"),
    [
        (DependsOnBatch, "batch"),
        (DependsOnCrowd, "batch"),
        (DependsOnChunks, "cut"),
        (DependsOnDecoding, "Decoding"),
        (DependsOnRows, "drafts"),
    ],
)
def test_kernels_that_break_it_are_told_of(runner, word):
    checked = self_check(runner())
    assert checked.broken
    assert len(checked.warnings) == 1
    assert word in checked.warnings[0]
    assert engine_info(runner().info, checked).fingerprint == "simulated-varying"


def test_kernels_with_another_way_for_few_rows_are_told_of():
    told = " ".join(self_check(DependsOnFewRows()).warnings)
    assert "depend on the batch" in told
    assert "how a prompt is cut" in told


def test_a_pool_too_small_for_the_check_is_told_of():
    checked = self_check(SimulatedRunner(block_count=4))
    assert "too small" in checked.warnings[0]
    assert not checked.broken


@pytest.mark.parametrize("context", [8, 64, 8192])
def test_warming_up_fits_any_context(context):
    runner = SimulatedRunner(context_length=context, block_count=-(-context // 16) + 1)
    warm_up(runner)
    assert np.isfinite(runner._blocks).all()
