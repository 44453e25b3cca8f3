"""What an engine can't do is refused by field and engine, and not offered in the catalog."""

from __future__ import annotations

import msgspec
import pytest

from chatwright.core.chat import Disaggregation
from chatwright.core.engine import EngineInfo
from chatwright.core.errors import UnsupportedParameter
from chatwright.core.messages import ResponseFormat, Tool, ToolChoice
from chatwright.engines.scripted import ScriptedEngine
from chatwright.service.capabilities import ASKED, offered

ASKS = {
    "min_tokens": {"min_tokens": 1},
    "temperature": {"temperature": 0.0},
    "top_p": {"top_p": 0.5},
    "top_p_min": {"top_p_min": 0.5},
    "top_k": {"top_k": 3},
    "min_p": {"min_p": 0.1},
    "seed": {"seed": 0},
    "frequency_penalty": {"frequency_penalty": 1.0},
    "presence_penalty": {"presence_penalty": -1.0},
    "repetition_penalty": {"repetition_penalty": 1.1},
    "logit_bias": {"logit_bias": ((3, 1.0),)},
    "bad": {"bad_words": ("x",)},
    "bad_token_ids": {"bad_token_ids": (3,)},
    "stop_token_ids": {"stop_token_ids": (3,)},
    "ignore_eos": {"ignore_eos": True},
    "logprobs": {"logprobs": 0},
    "top_logprobs": {"logprobs": 2},
    "response_format": {"format": ResponseFormat("json_object")},
    "tools": {"tools": (Tool("f"),), "tool_choice": ToolChoice("auto")},
    "prediction": {"prediction": "x"},
    "disaggregated_params": {"disaggregation": Disaggregation("context")},
}


class Limited(ScriptedEngine):
    lacking: tuple[str, ...] = ()

    @property
    def info(self) -> EngineInfo:
        return msgspec.structs.replace(super().info, name="toy", unsupported=self.lacking)


@pytest.fixture
def engine() -> Limited:
    return Limited(lambda _: [504, 2], vocab_size=49152)


def test_every_field_has_a_case():
    assert ASKS.keys() == ASKED.keys()


@pytest.mark.parametrize("field", ASKS)
async def test_value_of_an_unsupported_field_is_refused_by_field_and_engine(
    field, engine, opened, new_request
):
    engine.lacking = (field,)
    with pytest.raises(UnsupportedParameter, match="toy") as refusal:
        await opened(engine, new_request(**ASKS[field]))
    assert refusal.value.param == field
    assert field in refusal.value.message


@pytest.mark.parametrize("field", ASKS)
async def test_default_of_an_unsupported_field_is_fine(field, engine, opened, new_request):
    engine.lacking = (field,)
    answer = await opened(engine, new_request())
    assert [delta async for delta in answer.deltas]


async def test_tools_that_may_not_be_called_need_no_support(engine, opened, new_request):
    engine.lacking = ("tools",)
    await opened(engine, new_request(tools=(Tool("f"),), tool_choice=ToolChoice("none")))


async def test_card_leaves_out_what_the_engine_lacks(engine, new_model):
    engine.lacking = ("tools", "response_format", "seed")
    names = ("seed", "tools", "tool_choice", "parallel_tool_calls", "response_format", "top_p")
    card = msgspec.structs.replace(
        new_model(engine).card,
        supported_parameters=names,
        supported_features=("chat", "tools", "json_mode", "structured_outputs"),
    )
    assert offered(card, engine) == card  # nothing is known before it has started
    await engine.start()
    assert offered(card, engine).supported_parameters == ("top_p",)
    assert offered(card, engine).supported_features == ("chat",)
