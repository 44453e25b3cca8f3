"""What trtllm-serve is asked for, field by field, as its published schema names them."""

from __future__ import annotations

import pytest

from chatwright.core.errors import UnsupportedParameter
from chatwright.core.generation import GenerationRequest, Grammar
from chatwright.core.sampling import SamplingParams
from chatwright.engines.remote.dialect import Greeting
from chatwright.engines.trtllm import CAPABILITIES, Trtllm
from chatwright.service.capabilities import ASKED


def asked(**members) -> dict:
    own = {name: members.pop(name) for name in SamplingParams.__struct_fields__ if name in members}
    sampling = SamplingParams(**({"max_tokens": 8, "seed": 7, "eos_token_ids": (2,)} | own))
    request = GenerationRequest(
        **({"id": "r1", "prompt_token_ids": (5, 6), "sampling": sampling, "reservation": 10} | members)
    )
    return Trtllm().request(request, Greeting("1.2.0", "m"), None).body


def test_request():
    body = asked(
        temperature=0.5, top_k=0, presence_penalty=0.5, stop_token_ids=(9,), logit_bias=((4, 2.0),), seed=-1
    )
    assert (body["model"], body["prompt"], body["detokenize"], body["add_special_tokens"]) == (
        "m",
        (5, 6),
        False,
        False,
    )
    assert (body["temperature"], body["top_k"], body["presence_penalty"]) == (0.5, 0, 0.5)
    assert body["prompt_ignore_length"] == 2  # or the prompt would be penalised like generated text
    assert (body["ignore_eos"], body["stop_token_ids"], body["include_stop_str_in_output"]) == (
        True,
        [2, 9],
        True,
    )
    assert body["logit_bias"] == {"4": 2.0}
    assert body["seed"] >= 0


def test_greedy_leaves_nothing_to_chance():
    body = asked(temperature=0.0, top_p=0.5)
    assert (body["temperature"], body["top_k"], body["top_p"]) == (1.0, 1, 1.0)


def test_ignored_eos_is_no_stop_id():
    assert asked(ignore_eos=True, stop_token_ids=(9,))["stop_token_ids"] == [9]


def test_grammar():
    assert asked(grammar=Grammar("llguidance", 'start: "a"'))["response_format"] == {
        "type": "ebnf",
        "ebnf": 'start: "a"',
    }


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"bad_sequences": ((1,),)}, "bad"),
        ({"ignore_eos": True, "grammar": Grammar("llguidance", "x")}, "ignore_eos"),
    ],
)
def test_what_it_cannot_honour_is_refused_by_field_and_engine(members, param):
    with pytest.raises(UnsupportedParameter, match="trtllm") as refusal:
        asked(**members)
    assert refusal.value.param == param
    assert param in refusal.value.message


def test_table_has_every_field_that_can_be_refused():
    assert ASKED.keys() <= {row.field for row in CAPABILITIES}
