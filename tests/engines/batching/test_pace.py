"""What the clock teaches: step times, how much prompt fits, when a draft pays."""

from __future__ import annotations

import random

import pytest

from chatwright.engines.batching.pace import FIRST_GUESS, Pace


def cost(rows, prompt=0, fixed=0.008, row=0.0005):
    return fixed + row * (rows + prompt)


def test_a_prompt_alone_gets_the_whole_budget():
    assert Pace(512).allowance(0) == 512


def test_before_anything_is_known_little_prompt_joins_running_streams():
    assert Pace(512).allowance(3) == FIRST_GUESS
    assert Pace(8).allowance(3) == 8


@pytest.mark.parametrize("decoding", [1, 8, 32])
def test_a_mixed_step_stays_under_its_stretch_once_learnt(decoding):
    pace = Pace(512, stretch=2.5)
    pace.observe(0, 512, cost(0, 512))
    for _ in range(20):
        pace.observe(decoding, 0, cost(decoding))
    for _ in range(40):
        prompt = pace.allowance(decoding)
        pace.observe(decoding, prompt, cost(decoding, prompt))
    prompt = pace.allowance(decoding)
    assert cost(decoding, prompt) <= 2.5 * 1.1 * cost(decoding)
    assert cost(decoding, prompt) >= 1.8 * cost(decoding), "prefill is held back for nothing"


def test_many_prompts_enter_at_the_pace_that_all_will_have():
    pace = Pace(512)
    pace.observe(0, 512, cost(0, 512))
    for decoding in (4, 32) * 20:
        pace.observe(decoding, 0, cost(decoding))
    alone = pace.allowance(4)
    assert pace.allowance(4, coming=1) == alone
    assert pace.allowance(4, coming=29) == pytest.approx(pace.allowance(32), abs=2)
    assert pace.allowance(4, coming=29) > 1.5 * alone


def test_step_times_are_told_apart_by_rows():
    pace = Pace(512)
    rng = random.Random(3)
    for _ in range(200):
        rows = rng.choice([1, 4, 16, 32])
        pace.observe(rows, 0, cost(rows) * rng.uniform(0.95, 1.05))
    assert pace._decode.at(1, None) == pytest.approx(cost(1), rel=0.15)
    assert pace._decode.at(32, None) == pytest.approx(cost(32), rel=0.1)


def test_a_step_time_is_learnt_under_load_that_never_pauses():
    """Every step carries some prompt, so no decode step is ever seen alone."""
    pace = Pace(512)
    pace.observe(0, 512, cost(0, 512))
    for _ in range(60):
        prompt = pace.allowance(8)
        pace.observe(8, prompt, cost(8, prompt))
    assert 1.5 < cost(8, pace.allowance(8)) / cost(8) < 3


def test_growing_cost_of_a_long_prompt_shrinks_its_chunks():
    pace = Pace(512)
    pace.observe(0, 512, cost(0, 512))
    for _ in range(10):
        pace.observe(1, 0, cost(1))
    early = pace.allowance(1)
    for position in range(300):
        prompt = pace.allowance(1)
        pace.observe(1, prompt, cost(1) + prompt * (0.0005 + position * 1e-5))
    assert 1 <= pace.allowance(1) < early / 4


def test_prefill_never_stops_however_dear():
    pace = Pace(512)
    for _ in range(5):
        pace.observe(1, 0, 0.001)
        pace.observe(1, 16, 60.0)
    assert pace.allowance(1) == 1


def test_a_draft_pays_sooner_for_one_stream_than_for_many():
    pace = Pace(512)
    assert 0 < pace.break_even(1) < pace.break_even(8) < pace.break_even(64) < 1
    for rows in [1, 32] * 20:
        pace.observe(rows, 0, cost(rows))
    assert pace.break_even(1) == pytest.approx(0.0005 / cost(1), rel=0.3)
    assert pace.break_even(32) == pytest.approx(32 * 0.0005 / cost(32), rel=0.3)


def test_steps_that_take_no_time_at_all_break_nothing():
    pace = Pace(512)
    for rows, prompt in [(0, 64), (4, 0), (4, 8), (1, 0)]:
        pace.observe(rows, prompt, 0.0)
    assert 1 <= pace.allowance(4) <= 512
    assert 0 <= pace.break_even(4) <= 1


def test_drafts_fit_into_what_a_prompt_leaves_and_never_keep_a_newcomer_waiting_long():
    pace = Pace(512)
    for _ in range(50):
        pace.observe(32, 0, cost(32))
        pace.observe(40, 0, cost(40))
        pace.observe(32, 64, cost(32, 64))
    alone = pace.draft_allowance(32, 0)
    assert 1.5 < cost(32 + alone) / cost(32) < 2.5
    assert pace.draft_allowance(32, 8) < alone
    assert pace.draft_allowance(32, 500) == 0
    assert pace.draft_allowance(1, 0) == 512
    assert Pace(512).draft_allowance(2, 0) == FIRST_GUESS
