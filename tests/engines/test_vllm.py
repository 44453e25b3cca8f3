"""What vLLM is asked for, field by field."""

from __future__ import annotations

import time

import pytest

from chatwright.core.errors import EngineFailed, InvalidGrammar, UnsupportedParameter
from chatwright.core.generation import GenerationRequest, Grammar, Handoff, ThinkingBudget
from chatwright.core.sampling import SamplingParams
from chatwright.engines.remote.dialect import Greeting
from chatwright.engines.vllm import CAPABILITIES, NEVER, Vllm
from chatwright.engines.vllm_probes import PATH, PROBES
from chatwright.service.capabilities import ASKED

ALL = Greeting("0.32.0", "m", 8192, frozenset(PROBES))
BARE = Greeting("0.32.0", "m", 8192)


def asked(greeting: Greeting = ALL, handoff: dict | None = None, **members) -> dict:
    own = {name: members.pop(name) for name in SamplingParams.__struct_fields__ if name in members}
    sampling = SamplingParams(**({"max_tokens": 8, "seed": 7, "eos_token_ids": (2, 3)} | own))
    request = GenerationRequest(
        **({"id": "r1", "prompt_token_ids": (5, 6), "sampling": sampling, "reservation": 10} | members)
    )
    wire = Vllm().request(request, greeting, handoff)
    assert wire.path == PATH
    assert wire.stream == wire.body["stream"]
    return wire.body


def sampling(greeting: Greeting = ALL, **members) -> dict:
    return asked(greeting, **members)["sampling_params"]


def test_token_ids_and_nothing_of_text():
    body = asked()
    assert (body["token_ids"], body["model"], body["request_id"]) == ((5, 6), "m", "r1")
    assert body["sampling_params"]["detokenize"] is False
    assert body["stream"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 0.7), ("top_p", 0.9), ("top_k", 3), ("top_k", 0), ("min_p", 0.1), ("frequency_penalty", -1.5),
        ("presence_penalty", 2.0), ("repetition_penalty", 1.3), ("min_tokens", 4), ("seed", 5), ("max_tokens", 3),
    ],
)  # fmt: skip
def test_field_is_passed_on(field, value):
    assert sampling(**{field: value})[field] == value


def test_seed_of_minus_one_is_a_seed():
    assert sampling(seed=-1)["seed"] not in (None, -1)


def test_our_ids_end_an_answer_not_vllms():
    told = sampling(stop_token_ids=(9, 2))
    assert (told["ignore_eos"], told["stop_token_ids"]) == (True, [2, 3, 9])
    assert sampling(stop_token_ids=(9,), ignore_eos=True)["stop_token_ids"] == [9]


def test_min_tokens_never_passes_max_tokens():
    assert sampling(min_tokens=20)["min_tokens"] == 8


def test_single_tokens_are_banned_by_a_bias_that_nothing_outweighs():
    told = sampling(logit_bias=((5, 100.0), (6, -3.0)), bad_sequences=((5,), (8,)))
    assert told["logit_bias"] == {"5": NEVER, "6": -3.0, "8": NEVER}
    assert "extra_args" not in told


def test_sequences_go_to_the_processor():
    assert sampling(bad_sequences=((5, 6), (8,)))["extra_args"] == {"chatwright": {"bad": [(5, 6)]}}


def test_moving_nucleus_goes_to_the_processor():
    told = sampling(top_p=0.9, top_p_min=0.3, top_k=7)
    draw = {"temperature": 1.0, "min_p": 0.0, "top_k": 7, "top_p": 0.9, "top_p_min": 0.3}
    assert told["extra_args"]["chatwright"] == {"draw": draw}
    assert (told["top_p"], told["top_k"], told["min_p"], told["temperature"]) == (1.0, 0, 0.0, 1.0)
    still = sampling(top_p=0.4, top_p_min=0.6)
    assert (still["top_p"], "extra_args" in still) == (0.6, False)
    assert "extra_args" not in sampling(top_p=0.9, top_p_min=0.3, temperature=0.0)


@pytest.mark.parametrize("temperature", [0.001, 3.5])
def test_temperatures_that_vllm_does_not_take_go_to_the_processor(temperature):
    told = sampling(temperature=temperature, top_k=9)
    assert told["temperature"] == 1.0
    assert told["extra_args"]["chatwright"]["draw"]["temperature"] == temperature
    assert "extra_args" not in sampling(temperature=0.0)


@pytest.mark.parametrize(("wanted", "told"), [(None, None), (0, 0), (1, 2), (20, 21)])
def test_one_more_logprob_than_wanted(wanted, told):
    assert sampling(logprobs=wanted)["logprobs"] == told


def test_grammar_is_given_as_it_is():
    assert sampling(grammar=Grammar("llguidance", 'start: "a"'))["structured_outputs"] == {
        "grammar": 'start: "a"'
    }


def test_ignore_eos_with_a_grammar_ends_only_where_the_grammar_does():
    told = sampling(grammar=Grammar("llguidance", 'start: "a"'), ignore_eos=True)
    assert told["stop_token_ids"] == [2, 3]
    assert told["logit_bias"] == {"2": NEVER, "3": NEVER}


def test_thinking_budget_goes_to_the_processor():
    told = sampling(
        grammar=Grammar("llguidance", "x"), thinking=ThinkingBudget(50, (11,), (12,), inside=True)
    )
    assert told["extra_args"]["chatwright"]["thinking"] == (50, 11, 12, True)


def test_priority_is_an_arrival_time_in_milliseconds():
    before = time.time()
    early, late = asked()["priority"], asked(priority=30.0)["priority"]
    assert -1 <= early - before * 1000 < 60_000
    assert 29_000 < late - early < 90_000
    assert "priority" not in asked(BARE)


def test_tenants_share_no_prefix_cache():
    assert asked(cache_salt="team")["cache_salt"] == "team"
    assert "cache_salt" not in asked()


def test_first_half_is_asked_for_in_one_piece():
    body = asked(handoff=None, **{"max_tokens": 1}, **{"id": "c"})
    assert body["stream"]
    context = Vllm().request(
        GenerationRequest("c", (5,), SamplingParams(1, 7), 9, handoff=Handoff("context", 1)), ALL, None
    )
    assert not context.stream
    assert context.body["kv_transfer_params"]["do_remote_decode"] is True


def test_second_half_begins_with_the_first_ones_tokens():
    request = GenerationRequest("c", (5,), SamplingParams(9, 7), 9, handoff=Handoff("continuation", 1, (42,)))
    body = Vllm().request(request, ALL, {"blocks": [1]}).body
    assert body["kv_transfer_params"] == {"blocks": [1]}
    assert body["sampling_params"]["extra_args"] == {"chatwright": {"first": (42,)}}
    with pytest.raises(UnsupportedParameter) as refusal:
        Vllm().request(request, BARE, {})
    assert refusal.value.param == "disaggregated_params"


@pytest.mark.parametrize(
    ("greeting", "members", "param"),
    [
        (BARE, {"temperature": 2.5}, "temperature"),
        (BARE, {"logprobs": 20}, "top_logprobs"),
        (BARE, {"bad_sequences": ((1, 2),)}, "bad"),
    ],
)
def test_what_it_cannot_honour_is_refused_by_field_and_engine(greeting, members, param):
    with pytest.raises(UnsupportedParameter, match="vllm") as refusal:
        asked(greeting, **members)
    assert refusal.value.param == param
    assert param in refusal.value.message


def test_table_has_every_field_that_can_be_refused():
    fields = [row.field for row in CAPABILITIES]
    assert len(set(fields)) == len(fields)
    assert ASKED.keys() <= set(fields)


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (b'{"error": {"message": "x", "code": 500}}', EngineFailed),
        (b'{"error": "x"}', EngineFailed),
        (b'{"error": {"message": "Grammar error: x", "code": 400}}', InvalidGrammar),
        (b'{"error": {"message": "min_p is not supported with x", "code": 400}}', UnsupportedParameter),
    ],
)
def test_error_within_a_stream_is_the_one_it_names(event, error):
    with pytest.raises(error):
        Vllm().reader(GenerationRequest("c", (5,), SamplingParams(9, 7), 9)).read(event)


@pytest.mark.parametrize(
    "event", [b"", b"[]", b'{"choices": [{"token_ids": ["5"]}]}', b'{"choices": {}}', b"\xff"]
)
def test_what_is_no_event_is_a_value_error(event):
    with pytest.raises(ValueError):  # noqa: PT011  the library's own message
        Vllm().reader(GenerationRequest("c", (5,), SamplingParams(9, 7), 9)).read(event)
