"""The walk of one request."""

from __future__ import annotations

import threading

import pytest

from chatwright.accounts.account import Account
from chatwright.core.chat import Disaggregation
from chatwright.core.deltas import Finished, Started, TextDelta
from chatwright.core.errors import (
    ContextLengthExceeded,
    EngineFailed,
    InvalidChatTemplate,
    InvalidValue,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    UnsupportedParameter,
)
from chatwright.core.messages import Message
from chatwright.service import chat
from chatwright.service.fold import fold

EOS = 2


@pytest.fixture
def hello(recut, default_tokenizer):
    return recut((*default_tokenizer.encode("Hello world."), EOS), (1, 1, 1, 1))


async def test_answer_is_started_text_finished(hello, opened, new_request):
    answer = await opened(hello, new_request())
    deltas = [delta async for delta in answer.deltas]
    assert isinstance(deltas[0], Started)
    assert deltas[0].role == "assistant"
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == "Hello world."
    assert isinstance(deltas[-1], Finished)
    assert deltas[-1].usage.completion_tokens == 4
    assert deltas[-1].usage.prompt_tokens == answer.prompt_tokens == 31
    assert answer.model == "owner/model"
    assert answer.id == hello.requests[0].id
    assert hello.closed == 1


async def test_engine_gets_everything_resolved(hello, opened, new_request, account):
    await fold((await opened(hello, new_request(max_tokens=50, top_k=-1), temperature=0.2)).deltas)
    (request,) = hello.requests
    assert (request.sampling.temperature, request.sampling.top_k) == (0.2, 0)
    assert (request.sampling.max_tokens, request.reservation) == (50, 31 + 50)
    assert request.sampling.eos_token_ids == (EOS,)
    assert request.sampling.seed >= 0
    assert (request.cache_salt, request.fair_key) == (account.cache_group, "p1/default")


@pytest.fixture
def encodings(default_tokenizer, monkeypatch):
    """(length, in the main thread) of each text that is encoded."""
    seen = []
    real = default_tokenizer._backend.encode_batch_fast

    class Watched:
        def encode_batch_fast(self, texts, **options):
            seen.append((len(texts[0]), threading.current_thread() is threading.main_thread()))
            return real(texts, **options)

    monkeypatch.setattr(default_tokenizer, "_backend", Watched())
    return seen


async def test_a_long_prediction_is_cut_to_what_an_answer_can_hold_and_encoded_in_a_thread(
    hello, opened, new_request, encodings
):
    await fold((await opened(hello, new_request(prediction="ab " * 20_000))).deltas)
    assert len(hello.requests[0].draft_token_ids) == 8192
    assert (60_000, False) in encodings


@pytest.mark.parametrize(("count", "on_loop"), [(2, True), (20, False)])
async def test_many_long_bad_words_are_encoded_in_a_thread(
    hello, opened, new_request, encodings, count, on_loop
):
    words = tuple(f"{number}".rjust(500, "x") for number in range(count))
    await fold((await opened(hello, new_request(bad_words=words))).deltas)
    assert [main for length, main in encodings if length == 500] == [on_loop] * count


async def test_the_first_half_of_a_request_sets_aside_no_room_for_the_second(hello, opened, new_request):
    await fold((await opened(hello, new_request(disaggregation=Disaggregation("context")))).deltas)
    (sent,) = hello.requests
    assert sent.sampling.max_tokens == 1
    assert sent.reservation == len(sent.prompt_token_ids) + 1


async def test_unseeded_requests_get_different_seeds(hello, opened, new_request):
    for _ in range(3):
        await fold((await opened(hello, new_request())).deltas)
    assert len({request.sampling.seed for request in hello.requests}) == 3
    await fold((await opened(hello, new_request(seed=-1))).deltas)
    assert hello.requests[-1].sampling.seed == -1


async def test_stop_string_closes_the_engine(recut, opened, new_request, default_tokenizer):
    engine = recut(default_tokenizer.encode("one two three four five"), (1,) * 20)
    completion = await fold((await opened(engine, new_request(stop=("wo t",)))).deltas)
    assert (completion.content, completion.stop_reason) == ("one t", "wo t")
    assert completion.usage.completion_tokens == 3
    assert engine.closed == 1


@pytest.mark.parametrize(("length", "on_loop"), [(100, True), (1000, False)])
async def test_many_long_stop_strings_are_prepared_in_a_thread(
    hello, opened, new_request, monkeypatch, length, on_loop
):
    threads = []

    class Watched(chat.Transcript):
        def __init__(self, *arguments):
            threads.append(threading.current_thread() is threading.main_thread())
            super().__init__(*arguments)

    monkeypatch.setattr(chat, "Transcript", Watched)
    stops = tuple(f"{number}".rjust(length, "-") for number in range(10))
    completion = await fold((await opened(hello, new_request(stop=stops))).deltas)
    assert (completion.content, threads) == ("Hello world.", [on_loop])


async def test_closing_the_answer_closes_the_engine(hello, opened, new_request):
    answer = await opened(hello, new_request())
    await anext(answer.deltas)
    await answer.deltas.aclose()
    assert hello.closed == 1


@pytest.mark.parametrize(
    ("members", "error", "param"),
    [
        ({"model": "nobody/nothing"}, ModelNotFound, "model"),
        ({"model": "Owner/Model"}, ModelNotFound, "model"),
        ({"stop_token_ids": (49152,)}, InvalidValue, "stop_token_ids"),
        ({"bad_token_ids": (-1,)}, InvalidValue, "bad_token_ids"),
        ({"logit_bias": ((49152, 1.0),)}, InvalidValue, "logit_bias"),
        ({"bad_words": tuple(f"w{n}" for n in range(600))}, InvalidValue, "bad"),
        ({"messages": (Message("user", "a " * 9000),)}, ContextLengthExceeded, "messages"),
        ({"chat_template": "x"}, InvalidChatTemplate, "chat_template"),
    ],
)
async def test_refusals_come_before_the_engine(hello, opened, new_request, members, error, param):
    with pytest.raises(error) as caught:
        await opened(hello, new_request(**members))
    assert caught.value.param == param
    assert hello.requests == []


async def test_alias_is_resolved_and_shown_as_asked(hello, opened, new_request):
    assert (await opened(hello, new_request(model="alias"))).model == "alias"


async def test_key_without_access_to_the_model(hello, new_model, new_service, new_request):
    stranger = Account(key_id="k", name="n", project_id="p", cache_group="g", models=frozenset({"other"}))
    with pytest.raises(PermissionDenied):
        await new_service(new_model(hello)).open(new_request(), stranger, request_id="r")


async def test_engine_without_logprobs_refuses_them(hello, opened, new_request):
    import msgspec

    hello._info = msgspec.structs.replace(hello.info, supports_logprobs=False)
    with pytest.raises(UnsupportedParameter) as caught:
        await opened(hello, new_request(logprobs=0))
    assert caught.value.param == "logprobs"


async def test_failing_engine_fails_the_answer(recut, opened, new_request):
    engine = recut((500, 501, 502), fail_after=2)
    answer = await opened(engine, new_request())
    with pytest.raises(EngineFailed):
        await fold(answer.deltas)


async def test_engine_that_ends_without_a_reason_fails_the_answer(recut, opened, new_request):
    class Silent(recut):
        async def generate(self, request):
            async for chunk in super().generate(request):
                if chunk.finish is None:
                    yield chunk

    with pytest.raises(EngineFailed, match="without saying why"):
        await fold((await opened(Silent((500, 501), (1,)), new_request())).deltas)


async def test_engine_that_is_not_running_is_overloaded(recut, new_model, new_service, new_request, account):
    answer = await new_service(new_model(_Down((5,)))).open(new_request(), account, request_id="r")
    with pytest.raises(Overloaded):
        await fold(answer.deltas)


class _Down:
    """An engine that never starts."""

    ready = False

    def __init__(self, tokens):
        self.tokens = tokens

    def generate(self, request):
        raise Overloaded("starting")


@pytest.mark.parametrize(
    ("last", "options", "content", "role"),
    [
        (Message("user", "Hi"), {"echo": True}, "Hello world.", "assistant"),
        (Message("user", "Hi"), {"echo": True, "add_generation_prompt": False}, "HiHello world.", "user"),
        (Message("assistant", "So: "), {"echo": True}, "So: Hello world.", "assistant"),
        (Message("assistant", ""), {"echo": True}, "Hello world.", "assistant"),
        (Message("assistant", "So: "), {}, "Hello world.", "assistant"),
    ],
)
async def test_echo(hello, opened, new_request, last, options, content, role):
    request = new_request(messages=(Message("user", "x"), last), **options)
    completion = await fold((await opened(hello, request)).deltas)
    assert (completion.content, completion.role) == (content, role)
    assert completion.usage.completion_tokens == 4


async def test_truncation_is_told(hello, opened, new_request):
    answer = await opened(hello, new_request(truncate_prompt_tokens=10))
    assert (answer.prompt_tokens, answer.truncated_tokens) == (10, 21)
    await fold(answer.deltas)
    assert len(hello.requests[0].prompt_token_ids) == 10
