"""From a JSON object to a valid wire request, or to the one error that lists what is wrong with it."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from chatwright.api import limits
from chatwright.api.openai.objects import did_you_mean
from chatwright.api.openai.problems import Problem, from_pydantic, to_error, unknown
from chatwright.api.openai.rules import REPLACED, broken_rules
from chatwright.api.openai.wire import ChatCompletionRequest


def parse(body: dict[str, Any]) -> ChatCompletionRequest:
    """The request in a JSON object. Raises an InvalidRequest that names the first fault and lists the next ones."""
    names = ChatCompletionRequest.member_names()
    problems = _unknown_members(body, names)
    known = {name: body[name] for name in names if name in body}
    try:
        request = ChatCompletionRequest.model_validate(known)
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise to_error([*problems, *(from_pydantic(detail, known) for detail in details)]) from None
    problems += broken_rules(request)
    if problems:
        raise to_error(problems)
    return request


def _unknown_members(body: dict[str, Any], names: list[str]) -> list[Problem]:
    problems = []
    for name, value in body.items():
        if name in REPLACED:
            if value is not None:
                problems.append(Problem("unsupported_parameter", name, f"'{name}' {REPLACED[name]}."))
        elif name not in names:
            problems.append(unknown(name, name, did_you_mean(name, names)))
        if len(problems) > limits.REPORTED_PROBLEMS.maximum:
            break
    return problems
