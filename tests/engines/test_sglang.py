"""What SGLang is asked for, field by field, as its published schema names them."""

from __future__ import annotations

import pytest

from chatwright.core.errors import UnsupportedParameter
from chatwright.core.generation import GenerationRequest, Grammar
from chatwright.core.sampling import SamplingParams
from chatwright.engines.remote.dialect import Greeting
from chatwright.engines.sglang import CAPABILITIES, NEVER, Sglang
from chatwright.service.capabilities import ASKED

PRIORITY = Greeting("0.5.9", "m", None, frozenset({"priority"}))


def asked(greeting: Greeting = PRIORITY, **members) -> dict:
    own = {name: members.pop(name) for name in SamplingParams.__struct_fields__ if name in members}
    sampling = SamplingParams(**({"max_tokens": 8, "seed": 7, "eos_token_ids": (2,)} | own))
    request = GenerationRequest(
        **({"id": "r1", "prompt_token_ids": (5, 6), "sampling": sampling, "reservation": 10} | members)
    )
    return Sglang().request(request, greeting, None).body


def test_request():
    body = asked(
        temperature=0.5,
        top_k=0,
        min_tokens=2,
        frequency_penalty=0.5,
        cache_salt="team",
        logit_bias=((4, 2.0),),
    )
    assert (body["rid"], body["input_ids"], body["stream"], body["extra_key"]) == ("r1", (5, 6), True, "team")
    sampling = body["sampling_params"]
    assert (sampling["max_new_tokens"], sampling["min_new_tokens"], sampling["top_k"]) == (8, 2, -1)
    assert (sampling["stop_token_ids"], sampling["ignore_eos"], sampling["sampling_seed"]) == ([2], False, 7)
    assert sampling["logit_bias"] == {"4": 2.0}
    assert "return_logprob" not in body


def test_greedy_leaves_nothing_to_chance():
    sampling = asked(temperature=0.0, top_p=0.5, min_p=0.5)["sampling_params"]
    assert (sampling["temperature"], sampling["top_p"], sampling["min_p"]) == (0.0, 1.0, 0.0)


def test_logprobs_by_id():
    body = asked(logprobs=3)
    assert (body["return_logprob"], body["top_logprobs_num"], body["return_text_in_logprobs"]) == (
        True,
        3,
        False,
    )


def test_priority_follows_the_servers_order():
    early, late = asked()["priority"], asked(priority=30.0)["priority"]
    assert late < early < 0
    low = Greeting("0.5.9", "m", None, frozenset({"priority", "low-first"}))
    assert 0 < asked(low)["priority"] < asked(low, priority=30.0)["priority"]
    assert "priority" not in asked(Greeting("0.5.9", "m"))


def test_grammar_and_bans():
    sampling = asked(grammar=Grammar("llguidance", 'start: "a"'), bad_sequences=((8,),))["sampling_params"]
    assert (sampling["ebnf"], sampling["logit_bias"]) == ('start: "a"', {"8": NEVER})
    own_end = asked(grammar=Grammar("llguidance", "x"), ignore_eos=True)["sampling_params"]
    assert (own_end["ignore_eos"], own_end["logit_bias"]) == (False, {"2": NEVER})


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"min_p": 0.1, "top_p": 0.5}, "min_p"),
        ({"bad_sequences": ((1, 2),)}, "bad"),
        ({"logprobs": 0, "presence_penalty": 1.0}, "logprobs"),
        ({"logprobs": 0, "logit_bias": ((1, 1.0),)}, "logprobs"),
    ],
)
def test_what_it_cannot_honour_is_refused_by_field_and_engine(members, param):
    with pytest.raises(UnsupportedParameter, match="sglang") as refusal:
        asked(**members)
    assert refusal.value.param == param
    assert param in refusal.value.message


def test_table_has_every_field_that_can_be_refused():
    assert ASKED.keys() <= {row.field for row in CAPABILITIES}
