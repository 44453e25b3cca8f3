"""The loop driven by hand: texts, counts, deadlines, limits, endings."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
from tests.engines.batching.stepping import (
    BLOCK,
    CONTEXT,
    VOCABULARY,
    Clock,
    Stepped,
    limited,
    make_request,
    make_runner,
    solo,
)

from chatwright.core.errors import (
    ContextLengthExceeded,
    DeadlineExceeded,
    EngineFailed,
    InternalError,
    InvalidValue,
    Overloaded,
    UnsupportedParameter,
)
from chatwright.core.generation import Grammar, Handoff
from chatwright.engines.batching.loop import EngineLoop, LoopLimits
from chatwright.engines.batching.runner import StepLogits
from chatwright.engines.batching.speculation import SpeculationLimits

LONG = tuple(i * 7 % VOCABULARY for i in range(40))


@pytest.mark.parametrize("exact", [True, False], ids=["exact recompute", "saved KV"])
@pytest.mark.parametrize("step_tokens", [1, 5, 512])
@pytest.mark.parametrize("blocks", [CONTEXT // BLOCK, 200], ids=["crowded", "roomy"])
def test_many_requests_at_once_give_what_each_gives_alone(exact, step_tokens, blocks):
    engine = Stepped(
        make_runner(exact_recompute=exact, block_count=blocks),
        limited(step_tokens=step_tokens, max_sequences=8),
    )
    requests = [
        make_request(f"r{i}", LONG[: 1 + i * 3 % 40], 20 + i, sampling={"seed": i}, reservation=4)
        for i in range(12)
    ]
    engine.submit(*requests)
    engine.run()
    for request in requests:
        assert engine.tokens(request.id) == solo(request, exact)
        assert engine.finish(request.id) == "length"
    engine.check_empty()
    if blocks == 200:
        assert engine.loop.stats().preemptions == 0
    elif step_tokens > 1:
        assert engine.loop.stats().preemptions > 0


def test_a_fake_that_tells_decoded_from_prefilled_kv_would_notice_a_recompute():
    """Guards the test above: without exact recompute, prefilling decoded tokens gives another continuation."""
    request = make_request("x", LONG[:6], 24)
    tokens = solo(request, False)
    engine = Stepped(make_runner(exact_recompute=False))
    engine.submit(make_request("x", (*LONG[:6], *tokens[:10]), 14))
    engine.run()
    assert engine.tokens("x") != tokens[10:]


@pytest.mark.parametrize("length", [1, 2, CONTEXT - 1])
@pytest.mark.parametrize("exact", [True, False])
def test_prompts_at_the_ends_of_what_fits(length, exact):
    prompt = [i % VOCABULARY for i in range(length)]
    for most in {1, CONTEXT - length}:
        engine = Stepped(make_runner(exact_recompute=exact, block_count=CONTEXT // BLOCK))
        engine.submit(make_request("x", prompt, most))
        engine.run()
        assert len(engine.tokens("x")) == most
        engine.check_empty()


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("length", range(1, 3 * BLOCK + 2))
def test_cached_tokens_are_whole_blocks_and_never_the_last_token(length, exact):
    engine = Stepped(make_runner(exact_recompute=exact))
    prompt = LONG[:length]
    engine.submit(make_request("first", prompt, 1))
    engine.run()
    engine.submit(make_request("second", prompt, 3, sampling={"seed": 9}))
    engine.run()
    assert engine.chunks["first"][0].cached_tokens == 0
    least = 1 if exact else 2
    assert engine.chunks["second"][0].cached_tokens == max(0, length - least) // BLOCK * BLOCK
    assert sum(chunk.cached_tokens for chunk in engine.chunks["second"][1:]) == 0
    assert engine.tokens("second") == solo(make_request("second", prompt, 3, sampling={"seed": 9}), exact)
    assert engine.loop.stats().cached_tokens == engine.chunks["second"][0].cached_tokens


def test_who_prefers_speed_gets_drafts_and_answers_from_the_cache_without_exact_recompute():
    engine = Stepped(make_runner(exact_recompute=False, reproducible=False), LoopLimits())
    assert engine.loop._speculates
    prompt = [5, 6, 7, 8, 9, 10, 11, 12]
    engine.submit(make_request("turn 1", prompt, 17))
    engine.run()
    engine.submit(make_request("turn 2", [*prompt, *engine.tokens("turn 1")], 5))
    engine.run()
    assert engine.chunks["turn 2"][0].cached_tokens == 24


def test_a_conversation_finds_its_answer_in_the_cache_only_where_recompute_is_exact():
    for exact, cached in [(True, 24), (False, 8)]:
        engine = Stepped(make_runner(exact_recompute=exact))
        engine.submit(make_request("turn 1", LONG[:9], 17))
        engine.run()
        history = (*LONG[:9], *engine.tokens("turn 1"), 1, 2, 3)
        engine.submit(make_request("turn 2", history, 5))
        engine.run()
        assert engine.chunks["turn 2"][0].cached_tokens == cached
        assert engine.tokens("turn 2") == solo(make_request("turn 2", history, 5), exact)


def test_salts_never_share_blocks():
    engine = Stepped()
    for name, salt, cached in [("a", "one", 0), ("b", "two", 0), ("c", "one", 36)]:
        engine.submit(make_request(name, LONG, 2, cache_salt=salt))
        engine.run()
        assert engine.chunks[name][0].cached_tokens == cached


def test_cached_prompt_tokens_are_neither_computed_nor_charged():
    engine = Stepped()
    engine.submit(make_request("a", LONG, 2), make_request("keep", [1], 60, fair_key="other"))
    for _ in range(5):
        engine.step()
    rows = engine.runner.rows
    engine.submit(make_request("b", LONG, 1))
    engine.step()
    assert engine.runner.rows - rows == len(LONG) - 36 + 1
    engine.run()
    assert engine.loop.stats().prompt_tokens == 40 + 1 + 4


def test_an_abort_frees_everything_before_the_next_step():
    engine = Stepped()
    engine.submit(make_request("stays", LONG, 12), make_request("goes", LONG[:30], 50))
    for _ in range(3):
        engine.step()
    engine.loop.abort("goes")
    engine.loop.abort("never came")
    made = len(engine.tokens("goes"))
    engine.step()
    assert len(engine.tokens("goes")) == made
    assert engine.loop.stats().running == 1
    assert engine.loop.stats().aborted == 1
    engine.run()
    assert engine.tokens("stays") == solo(make_request("stays", LONG, 12), True)
    engine.check_empty()


def test_an_abort_while_waiting_never_reaches_the_runner():
    engine = Stepped(limits=limited(max_sequences=1))
    engine.submit(make_request("runs", [1, 2], 5), make_request("waits", LONG, 5))
    engine.step()
    engine.loop.abort("waits")
    engine.run()
    assert "waits" not in engine.chunks
    assert engine.runner.rows < len(LONG)
    engine.check_empty()


def test_a_passed_deadline_never_reaches_prefill():
    engine = Stepped(limits=limited(max_sequences=1))
    engine.submit(
        make_request("runs", [1, 2], 30),
        make_request("late", LONG, 5, deadline=0.05, fair_key="other"),
        make_request("patient", [1, 2, 3], 5, deadline=1e9),
    )
    engine.run()
    assert isinstance(engine.errors["late"], DeadlineExceeded)
    assert engine.runner.rows < 2 + 30 + 3 + 5 + 1
    assert engine.finish("patient") == "length"
    engine.check_empty()


def test_a_deadline_that_passed_before_submission_never_reaches_prefill():
    clock = Clock()
    clock.now = 100.0
    engine = Stepped(make_runner(clock))
    engine.submit(make_request("late", LONG, 5, deadline=99.0))
    engine.run()
    assert isinstance(engine.errors["late"], DeadlineExceeded)
    assert engine.runner.rows == 0


def test_a_deadline_doesnt_stop_what_has_begun():
    engine = Stepped()
    engine.submit(make_request("x", LONG, 40, deadline=0.05))
    engine.run()
    assert engine.finish("x") == "length"
    assert not engine.errors


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back():
    engine = Stepped(limits=limited(waiting=(3, 10**6)))
    for i in range(3):
        engine.submit(make_request(str(i), [1, 2], 2))
    with pytest.raises(Overloaded, match="3 requests with 6 prompt tokens") as caught:
        engine.submit(make_request("over", [1, 2], 2))
    assert 1 <= caught.value.retry_after <= 60
    engine.step()
    engine.submit(make_request("over", [1, 2], 2))
    engine.run()
    assert engine.finish("over") == "length"
    engine.check_empty()


def test_the_queue_is_bounded_in_tokens_but_takes_any_prompt_when_empty():
    engine = Stepped(limits=limited(waiting=(100, 50)))
    engine.submit(make_request("long", [1] * 60, 2))
    with pytest.raises(Overloaded):
        engine.submit(make_request("short", [1], 2))
    engine.run()
    engine.submit(make_request("a", [1] * 30, 2), make_request("b", [1] * 20, 2))
    with pytest.raises(Overloaded):
        engine.submit(make_request("c", [1], 2))
    engine.run()
    engine.check_empty()


def test_an_id_in_use_is_refused_and_can_be_used_again():
    engine = Stepped()
    engine.submit(make_request("x", [1], 3))
    with pytest.raises(InternalError):
        engine.submit(make_request("x", [2], 3))
    engine.run()
    engine.submit(make_request("x", [2], 3))
    engine.run()
    engine.check_empty()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (make_request("x", [], 4), InvalidValue),
        (make_request("x", [VOCABULARY], 4), InvalidValue),
        (make_request("x", [-1], 4), InvalidValue),
        (make_request("x", [1], 0), InvalidValue),
        (make_request("x", [1] * CONTEXT, 1), ContextLengthExceeded),
        (make_request("x", [1] * 90, 7), ContextLengthExceeded),
        (make_request("x", [1], 4, weight=0.0), InvalidValue),
        (make_request("x", [1], 4, priority=float("nan")), InvalidValue),
        (make_request("x", [1], 4, draft_token_ids=(VOCABULARY,)), InvalidValue),
        (make_request("x", [1], 4, grammar=Grammar("llguidance", "start: /a/")), UnsupportedParameter),
    ],
)
def test_what_can_never_be_served_is_refused_at_once(wrong, error):
    engine = Stepped()
    with pytest.raises(error):
        engine.submit(wrong)
    assert engine.loop.idle
    engine.check_empty()


def test_parameters_no_sampler_takes_fail_their_request_alone():
    engine = Stepped()
    engine.submit(make_request("fine", [1, 2], 4), make_request("odd", [1], 4, sampling={"top_p_min": 0.2}))
    engine.run()
    assert isinstance(engine.errors["odd"], InvalidValue)
    assert engine.finish("fine") == "length"
    engine.check_empty()


def test_logits_that_are_no_numbers_fail_their_request_alone():
    class Broken(type(make_runner())):
        def forward(self, batch):
            logits = super().forward(batch)
            if len(logits.logits) > 1:
                logits.logits[1] = np.nan
                logits.candidate_logits[1] = np.nan
            return StepLogits(logits.candidate_ids, logits.candidate_logits, logits.logits)

    engine = Stepped(
        Broken(Clock(), vocab_size=VOCABULARY, context_length=CONTEXT, block_size=BLOCK, candidates=8)
    )
    engine.submit(make_request("first", [1, 2], 4), make_request("second", [3, 4], 4))
    with np.errstate(invalid="ignore"):
        engine.run()
    assert engine.finish("first") == "length"
    assert isinstance(engine.errors["second"], EngineFailed)
    assert "second" not in engine.chunks
    engine.check_empty()


@pytest.mark.parametrize("kind", ["eos_token_ids", "stop_token_ids"])
def test_end_tokens_end_a_sequence_and_are_told_apart(kind):
    tokens = solo(make_request("x", LONG, 40), True)
    end = tokens[10]
    place = tokens.index(end)
    engine = Stepped()
    engine.submit(make_request("x", LONG, 40, sampling={kind: (end,)}))
    engine.run()
    assert engine.tokens("x") == tokens[: place + 1]
    last = engine.chunks["x"][-1]
    assert (last.finish, last.stop_token, last.stop_token_is_eos) == ("stop", end, kind == "eos_token_ids")


def test_ignored_eos_goes_on():
    tokens = solo(make_request("x", LONG, 40), True)
    engine = Stepped()
    engine.submit(make_request("x", LONG, 40, sampling={"eos_token_ids": (tokens[3],), "ignore_eos": True}))
    engine.run()
    assert engine.tokens("x") == tokens


def test_logprobs_come_with_each_token():
    engine = Stepped(limits=limited(speculation=SpeculationLimits()))
    tokens = solo(make_request("x", LONG, 12), True)
    engine.submit(make_request("x", LONG, 12, sampling={"logprobs": 2}, draft_token_ids=tuple(tokens)))
    engine.run()
    for chunk in engine.chunks["x"]:
        assert [entry.token_id for entry in chunk.logprobs] == list(chunk.token_ids)
        assert all(len(entry.top) == 2 for entry in chunk.logprobs)


@pytest.mark.parametrize("context_cost", [0.0, 1e-6], ids=["flat", "grows with context"])
def test_running_streams_keep_their_pace_while_8k_tokens_enter(context_cost):
    """Contract of chunked prefill: no gap between tokens over 3 times what it is without the prompt."""
    runner = make_runner(context_length=8300, block_size=32, block_count=800, context_cost=context_cost)
    engine = Stepped(runner, limited())
    for i in range(4):
        engine.submit(make_request(f"stream {i}", [i, 1, 2, 3] * 10, 3000))
    for _ in range(60):
        engine.step()
    times = engine.times["stream 0"]
    idle = max(b - a for a, b in pairwise(times[5:]))
    before = len(times)
    engine.submit(make_request("long", [i % VOCABULARY for i in range(8000)], 2))
    while "long" not in engine.chunks:
        engine.step()
    gaps = [b - a for a, b in pairwise(times[before - 1 :])]
    assert len(gaps) > 50
    assert max(gaps) < 3 * idle
    assert sum(gaps) / len(gaps) > 1.5 * idle, "the prompt is held back for nothing"


def test_a_stopped_loop_refuses_new_requests_and_stop_can_come_twice():
    loop = EngineLoop(make_runner(), LoopLimits(), Stepped())
    loop.start()
    loop.stop()
    loop.stop()
    with pytest.raises(EngineFailed):
        loop.submit(make_request("x", [1], 2))


def test_a_loop_that_dies_says_so_and_refuses_what_comes_later():
    class Fails(type(make_runner())):
        def forward(self, batch):
            raise RuntimeError("kernel trouble")

    died = threading.Event()
    seen = []
    sink = Stepped()
    sink.died = lambda error: (seen.append(error), died.set())
    loop = EngineLoop(Fails(Clock(), vocab_size=VOCABULARY), LoopLimits(), sink)
    loop.start()
    loop.submit(make_request("x", [1], 2))
    assert died.wait(30)
    assert str(seen[0]) == "kernel trouble"
    with pytest.raises(EngineFailed, match="kernel trouble"):
        loop.submit(make_request("y", [1], 2))
    loop.stop()


def test_limits_under_which_nothing_could_be_queued_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        LoopLimits(max_waiting=0)
    with pytest.raises(ValueError, match="at least 1"):
        LoopLimits(max_waiting_tokens=0)


class FullDisk:
    """A spool whose disk takes nothing."""

    def put(self, context_id, computed, kv):
        raise OSError(28, "No space left on device")


def test_a_context_that_cant_be_kept_fails_its_request_alone():
    engine = Stepped()
    engine.loop._spool = FullDisk()
    engine.submit(
        make_request("context", [1, 2, 3], 1, handoff=Handoff("context", 5)), make_request("other", [1, 2], 6)
    )
    engine.run()
    assert "No space left" in str(engine.errors["context"])
    assert "context" not in engine.chunks
    assert engine.finish("other") == "length"
    engine.check_empty()
