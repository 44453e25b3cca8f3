"""Products on tiles give the bits of products on vectors, for any number of rows and kind of weights."""

from __future__ import annotations

import numpy as np
import pytest

from chatwright.engines.native.library import load
from chatwright.engines.native.runner import NativeRunner

TOKENS = np.random.default_rng(5).integers(0, 300, 700).astype(np.int32)


@pytest.fixture(autouse=True)
def _tiles() -> None:
    if not load().cw_wide_available():
        pytest.skip("the processor lacks AMX")


def use_tiles_from(runner: NativeRunner, rows: int) -> None:
    load().cw_model_wide_from(runner._model, rows)


@pytest.mark.parametrize("kind", ["Q4_1", "Q4_0", "Q8_0", "F16"])
@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_tiles_change_no_bit(tiny, open_runner, step, sequence, kind, architecture):
    runner = open_runner(tiny(architecture=architecture, kind=kind, tied=False))
    for rows in (1, 3, 4, 5, 15, 16, 17, 33, 48, 49, 96, 97, 130, 200):
        found = []
        for wide_from in (0, 1):
            use_tiles_from(runner, wide_from)
            found.append(step(runner, sequence(TOKENS[:rows], 0, range(7)))[0])
        np.testing.assert_array_equal(
            found[0].view(np.uint32), found[1].view(np.uint32), err_msg=f"{rows} rows"
        )


def test_the_default_model_keeps_its_bits(default_gguf, open_runner, step, sequence):
    runner, found = open_runner(default_gguf), []
    for wide_from in (0, 1):
        use_tiles_from(runner, wide_from)
        prompts = [sequence(TOKENS[i : i + 40 + i], 0, range(3 * i, 3 * i + 3)) for i in range(12)]
        found.append(np.concatenate(step(runner, *prompts)))
    np.testing.assert_array_equal(found[0].view(np.uint32), found[1].view(np.uint32))


def test_few_rows_go_without_tiles_and_many_with_them(tiny, open_runner, step, sequence):
    """The choice itself: a step of both sizes gives what each size gives alone."""
    runner = open_runner(tiny())
    (alone,) = step(runner, sequence(TOKENS[:1], 0, range(1)))
    together = step(runner, *(sequence(TOKENS[:1], 0, [1 + i]) for i in range(32)))
    for row in together:
        np.testing.assert_array_equal(row.view(np.uint32), alone.view(np.uint32))
