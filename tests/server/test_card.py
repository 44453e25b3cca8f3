"""What GET /v1/models says of a model is what a request to it would find."""

from __future__ import annotations

import pytest

from chatwright.api.openai.wire import ChatCompletionRequest
from chatwright.config import Settings
from chatwright.model_config import ModelSettings
from chatwright.parsing.format import Format, Reasoning
from chatwright.server.card import DRAWING, PARAMETERS, model_card

ONE_VALUE = {"n", "best_of", "length_penalty", "early_stopping", "store", "modalities"}
"""Fields that have one value, or no effect with any."""
THINKER = Format("thinker", reasoning=Reasoning("<think>", "</think>"))


@pytest.fixture
def parameters(default_model):
    def of(fmt=None, reads=frozenset(), engine=None, **settings):
        more = {"script": "s.json"} if engine == "scripted" else {}
        one = ModelSettings(model="m", engine=engine, **more)
        card = model_card(default_model, one, Settings(models=[one], **settings), 8192, fmt, frozenset(reads))
        return set(card.supported_parameters)

    return of


def test_every_field_is_known():
    assert ChatCompletionRequest.model_fields.keys() - ONE_VALUE == {"messages", "model", *PARAMETERS}


def test_effort_and_verbosity_are_told_where_something_reads_them(parameters):
    assert set(PARAMETERS) - parameters() == {"reasoning_effort", "verbosity"}
    assert set(PARAMETERS) - parameters(THINKER) == {"verbosity"}
    assert parameters(reads={"reasoning_effort", "verbosity"}) == set(PARAMETERS)


@pytest.mark.parametrize(
    ("switch", "field"),
    [
        ("request_templates", "chat_template"),
        ("disaggregation", "disaggregated_params"),
        ("speculation", "prediction"),
    ],
)
def test_what_is_switched_off_is_not_told(parameters, switch, field):
    assert parameters() - parameters(**{switch: False}) == {field}


def test_script_is_not_drawn_from_nor_led_astray(parameters):
    lacking = parameters() - parameters(engine="scripted")
    assert lacking > DRAWING
    assert {"logit_bias", "bad", "frequency_penalty", "disaggregated_params"} < lacking
    assert {"stop", "min_tokens", "logprobs", "tools"} < parameters(engine="scripted")
