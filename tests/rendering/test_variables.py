"""Reserved names and odd names of template variables."""

from __future__ import annotations

import pytest

from chatwright.core.errors import InvalidValue
from chatwright.rendering.environment import build_environment
from chatwright.rendering.template import ChatTemplate, RenderJob
from chatwright.rendering.variables import RESERVED, check_variables


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_reserved_names_are_refused_by_name(name):
    with pytest.raises(InvalidValue, match=f"'{name}'") as caught:
        check_variables({"enable_thinking": True, name: 1})
    assert caught.value.param == "chat_template_args"


def test_every_global_of_the_environment_is_reserved():
    assert set(build_environment().globals) <= RESERVED


def test_special_tokens_of_the_model_are_reserved():
    check_variables(["image_token"])
    with pytest.raises(InvalidValue):
        check_variables(["image_token"], ["image_token"])


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "é"])
def test_names_that_no_template_can_read_are_unused_and_no_error(name):
    check_variables([name])
    assert ChatTemplate("{{ messages[0].content }}", {}).render(
        RenderJob([{"role": "user", "content": "x"}], variables={name: 1})
    ).unused_variables == (name,)


def test_ordinary_names_pass():
    check_variables(["enable_thinking", "thinking", "reasoning_effort", "_x", "a" * 128])
