"""What takes long in preparing a request is not done on the event loop, where everybody else would wait for it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from chatwright.core.messages import Message
from chatwright.parsing import stop
from chatwright.tokenization.tokenizer import Tokenizer

LONG = tuple(f"{number}" + "é" * 900 for number in range(32))


@pytest.fixture
def threads(monkeypatch):
    """Where encoding and building of automata took place, by the length of what was given."""
    seen: dict[int, threading.Thread] = {}
    encode, automaton = Tokenizer.encode, stop.Automaton

    def watched_encode(self, text, add_special_tokens=False):
        seen[len(text)] = threading.current_thread()
        return encode(self, text, add_special_tokens)

    def watched_automaton(patterns):
        seen[sum(map(len, patterns))] = threading.current_thread()
        return automaton(patterns)

    monkeypatch.setattr(Tokenizer, "encode", watched_encode)
    monkeypatch.setattr(stop, "Automaton", watched_automaton)
    return seen


@pytest.mark.parametrize(
    ("members", "length"),
    [
        ({"bad_words": LONG}, len(LONG[0])),
        ({"stop": LONG}, sum(map(len, LONG))),
        ({"prediction": "word " * 10_000}, 50_000),
    ],
)
async def test_long_inputs_are_worked_on_in_threads(recut, opened, new_request, threads, members, length):
    await opened(recut((504, 2)), new_request(**members))
    assert threads[length] is not threading.current_thread()


async def test_short_stops_take_no_thread(recut, opened, new_request, threads):
    await opened(recut((504, 2)), new_request(stop=("ab",)))
    assert threads[2] is threading.current_thread()


async def test_prediction_past_the_context_is_cut(recut, opened, new_request, default_tokenizer):
    engine = recut((504, 2))
    answer = await opened(engine, new_request(prediction="word " * 400_000))
    async for _ in answer.deltas:
        pass
    (request,) = engine.requests
    assert (
        request.draft_token_ids
        == (default_tokenizer.encode("word " * 10_000))[: len(request.draft_token_ids)]
    )
    assert len(request.draft_token_ids) == 8192


async def test_long_prompts_keep_no_other_from_a_thread(recut, opened, new_request, monkeypatch):
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    go, encode = threading.Event(), Tokenizer.encode

    def slow_encode(self, text, add_special_tokens=False):
        if len(text) > 100_000:
            assert go.wait(60)
        return encode(self, text, add_special_tokens)

    monkeypatch.setattr(Tokenizer, "encode", slow_encode)
    engine = recut((504, 2))
    long = new_request(messages=(Message("user", "word " * 40_000),), truncate_prompt_tokens=5)
    waiting = [asyncio.ensure_future(opened(engine, long)) for _ in range(6)]
    middling = new_request(messages=(Message("user", "word " * 2000),), bad_words=())
    try:
        await asyncio.sleep(0)
        await asyncio.wait_for(opened(engine, middling), 30)
        assert not any(task.done() for task in waiting)
    finally:
        go.set()
        await asyncio.gather(*waiting)
