"""The signed state between the halves of a request."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatwright.accounts.account import Account
from chatwright.core.chat import Disaggregation
from chatwright.core.errors import ContextNotFound, InvalidRequest, MissingParameter
from chatwright.core.generation import Handoff, TokenLogprob
from chatwright.service.handoff import TTL_SECONDS, Handoffs

MINE = Account("k1", "mine", "p", "g")
OTHER = Account("k2", "other", "p", "g")
PROMPT = (5, 6, 7)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def handoffs(clock: Clock) -> Handoffs:
    return Handoffs(b"secret", clock)


def continuation(handoffs: Handoffs, **changes: object) -> Disaggregation:
    handle = handoffs.issue(Handoff("context", 42), MINE, "m", PROMPT, [9])
    members = {
        "context_id": handle.context_id,
        "state": handle.state,
        "first_token_ids": handle.first_token_ids,
    }
    return Disaggregation("continuation", **(members | changes))


def test_state_resumes_what_was_issued(handoffs: Handoffs) -> None:
    assert handoffs.resume(continuation(handoffs), MINE, "m", PROMPT) == Handoff("continuation", 42, (9,))


def test_what_was_reported_of_the_first_token_travels_with_it(handoffs: Handoffs) -> None:
    entry = TokenLogprob(9, -0.5, ((9, -0.5), (8, -1.25)))
    handle = handoffs.issue(Handoff("context", 42), MINE, "m", PROMPT, [9], [entry])
    asked = Disaggregation("continuation", 42, handle.state, (9,))
    assert handoffs.resume(asked, MINE, "m", PROMPT).first_logprobs == (entry,)


def test_servers_with_one_secret_understand_each_other(handoffs: Handoffs, clock: Clock) -> None:
    assert Handoffs(b"secret", clock).resume(continuation(handoffs), MINE, "m", PROMPT).context_id == 42
    with pytest.raises(InvalidRequest):
        Handoffs(b"another", clock).resume(continuation(handoffs), MINE, "m", PROMPT)


def test_state_of_another_key_is_refused(handoffs: Handoffs) -> None:
    with pytest.raises(InvalidRequest, match="another API key"):
        handoffs.resume(continuation(handoffs), OTHER, "m", PROMPT)


@pytest.mark.parametrize(
    ("model", "prompt", "changes"),
    [
        ("n", PROMPT, {}),
        ("m", (5, 6, 8), {}),
        ("m", PROMPT, {"context_id": 43}),
        ("m", PROMPT, {"first_token_ids": (9, 9)}),
    ],
)
def test_state_is_bound_to_its_request(handoffs: Handoffs, model: str, prompt: tuple, changes: dict) -> None:
    with pytest.raises(InvalidRequest, match="another request"):
        handoffs.resume(continuation(handoffs, **changes), MINE, model, prompt)


def test_state_expires(handoffs: Handoffs, clock: Clock) -> None:
    asked = continuation(handoffs)
    clock.now += TTL_SECONDS + 1
    with pytest.raises(ContextNotFound):
        handoffs.resume(asked, MINE, "m", PROMPT)


@pytest.mark.parametrize(
    ("changes", "missing"), [({"context_id": None}, "ctx_request_id"), ({"state": ""}, "opaque_state")]
)
def test_what_is_missing_is_named(handoffs: Handoffs, changes: dict, missing: str) -> None:
    with pytest.raises(MissingParameter) as refusal:
        handoffs.resume(continuation(handoffs, **changes), MINE, "m", PROMPT)
    assert refusal.value.param == f"disaggregated_params.{missing}"


@given(st.binary(max_size=200) | st.binary(min_size=32, max_size=40))
def test_forged_states_are_refused(data: bytes) -> None:
    handoffs = Handoffs(b"secret")
    for state in (base64.urlsafe_b64encode(data).decode(), data.decode("latin-1")):
        if state:
            with pytest.raises(InvalidRequest):
                handoffs.resume(Disaggregation("continuation", 1, state, (1,)), MINE, "m", PROMPT)
