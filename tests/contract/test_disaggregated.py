"""disaggregated_params (contract 8), within a server and between the engine processes of two."""

from __future__ import annotations

import pytest

OCEAN = [{"role": "user", "content": "Write a short poem about the sea and the wind in summer."}]


def context(api, **members) -> dict:
    return api.choice(messages=OCEAN, disaggregated_params={"request_type": "context_only"}, **members)


def resumed(handle: dict, **changes) -> dict:
    return handle | {"request_type": "generation_only"} | changes


@pytest.mark.proves("disaggregated_params")
@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"temperature": 1, "seed": 5}])
def test_two_steps_equal_one(api, sampling) -> None:
    whole = api.choice(messages=OCEAN, **sampling)
    first = context(api, **sampling)
    assert first["finish_reason"] == "length"
    handle = first["disaggregated_params"]
    assert len(handle["first_gen_tokens"]) == 1
    second = api.ask(messages=OCEAN, disaggregated_params=resumed(handle), **sampling)
    assert second["choices"][0]["message"] == whole["message"]
    assert second["usage"]["completion_tokens"] == 15, "the first token was counted where it was made"
    stream = api.stream(messages=OCEAN, disaggregated_params=resumed(handle), **sampling)
    assert first["message"]["content"] + stream.content == whole["message"]["content"]


@pytest.mark.proves("disaggregated_params")
@pytest.mark.parametrize("max_tokens", [1, 2, 12])
def test_two_steps_equal_one_down_to_logprobs_and_the_shortest_answer(api, max_tokens) -> None:
    asked = {"max_tokens": max_tokens, "logprobs": True, "top_logprobs": 3}
    whole = api.choice(messages=OCEAN, **asked)
    handle = context(api, **asked)["disaggregated_params"]
    second = api.ask(messages=OCEAN, disaggregated_params=resumed(handle), **asked)
    assert second["choices"][0] == whole
    assert second["usage"]["completion_tokens"] == max_tokens - 1
    plain = api.choice(messages=OCEAN, disaggregated_params=resumed(handle), max_tokens=max_tokens)
    assert (plain["message"], plain["logprobs"]) == (whole["message"], None)
    stream = api.stream(messages=OCEAN, disaggregated_params=resumed(handle), **asked)
    assert stream.logprobs == whole["logprobs"]["content"][1:]
    assert stream.finish == ("length", None)


def test_streamed_context_carries_the_state_in_its_last_chunk(api) -> None:
    stream = api.stream(messages=OCEAN, disaggregated_params={"request_type": "Context_Only"})
    handle = stream.choices[-1]["disaggregated_params"]
    assert api.content(messages=OCEAN, disaggregated_params=resumed(handle)) == api.content(messages=OCEAN)


@pytest.mark.proves("disaggregated_params")
def test_a_second_servers_engine_continues(api, elsewhere, new_api) -> None:
    handle = context(api)["disaggregated_params"]
    with new_api(elsewhere) as there:
        before = there.ask(
            messages=OCEAN, max_tokens=2
        )  # the engine is warm, its prefix cache knows the prompt
        assert before["usage"]["completion_tokens"] == 2
        assert there.content(messages=OCEAN, disaggregated_params=resumed(handle)) == api.content(
            messages=OCEAN
        )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"opaque_state": "AAAA"}, "invalid_value"),
        ({"ctx_request_id": 5}, "invalid_value"),
        ({"first_gen_tokens": [5]}, "invalid_value"),
        ({"opaque_state": None}, "invalid_value"),
    ],
)
def test_what_does_not_belong_together_is_refused(api, changes, code) -> None:
    handle = context(api)["disaggregated_params"]
    error = api.refused(messages=OCEAN, disaggregated_params=resumed(handle, **changes))
    assert error["code"] == code
    assert error["param"].startswith("disaggregated_params")


def test_state_of_another_key_is_refused(live, api, new_api) -> None:
    handle = context(api)["disaggregated_params"]
    with new_api(live.url, "another") as other:
        error = other.refused(messages=OCEAN, disaggregated_params=resumed(handle))
    assert error["param"] == "disaggregated_params.opaque_state"


def test_draft_tokens_change_nothing_but_the_counts(api) -> None:
    plain = api.ask(messages=OCEAN, max_tokens=12)
    text = plain["choices"][0]["message"]["content"]
    guided = api.ask(messages=OCEAN, max_tokens=12, prediction={"type": "content", "content": text})
    assert guided["choices"] == plain["choices"]
    details = guided["usage"]["completion_tokens_details"]
    counted = details["accepted_prediction_tokens"] + details["rejected_prediction_tokens"]
    assert counted > 0 or api.engine  # another server's engine isn't told the draft
    assert guided["usage"]["completion_tokens"] == plain["usage"]["completion_tokens"]
    drafts = {"request_type": "context_and_generation", "draft_tokens": [1, 2, 3]}
    assert api.content(messages=OCEAN, max_tokens=12, disaggregated_params=drafts) == text
