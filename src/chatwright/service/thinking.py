"""How much a model may think before it must answer."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from chatwright.core.errors import UnsupportedParameter
from chatwright.core.generation import ThinkingBudget
from chatwright.parsing.format import Format
from chatwright.service.capabilities import unsupported
from chatwright.service.model import ServedModel

SHARES = MappingProxyType({
    "none": 0.0, "minimal": 0.05, "low": 0.2, "medium": 0.5, "high": 0.75, "xhigh": 0.9, "max": 1.0,
})  # fmt: skip
"""The part of the answer's tokens that thinking may take, by `reasoning_effort`; without one it is "max"."""
ANSWER_SHARE = 0.1
LEAST_ANSWER = 64
MOST_RESERVED = 1024
"""Tokens that always stay for the answer: a tenth, within these bounds; where there are few, half of all."""


def reasons(fmt: Format | None) -> bool:
    """Whether a family writes its thinking so that it can be told from the answer."""
    return fmt is not None and (fmt.reasoning is not None or fmt.channels is not None)


def check_effort(effort: str | None, model: ServedModel, unused_variables: Sequence[str]) -> None:
    """Raises UnsupportedParameter for an effort that neither the model nor its template does anything with."""
    thinks = reasons(model.format) and "reasoning_effort" not in unsupported(model.engine)
    if effort is not None and not thinks and "reasoning_effort" in unused_variables:
        raise UnsupportedParameter(
            f"{model.card.id} does not reason, or its engine can't limit that.", param="reasoning_effort"
        )


def thinking_budget(
    effort: str | None, model: ServedModel, prompt_text: str, max_tokens: int
) -> ThinkingBudget | None:
    """The budget of an answer of at most `max_tokens`; None for a model that doesn't think, or whose tokens are given."""
    fmt = model.format
    if fmt is None or model.grammars is None:
        return None
    then: tuple[tuple[int, ...], ...] = ()
    if fmt.reasoning is not None:
        markers = fmt.reasoning.start, fmt.reasoning.end
    elif (heads := fmt.channels) is not None:
        markers = heads.message, heads.ends[0]
        header = f"{heads.start}assistant{heads.channel}"
        answers = f"{header}final{heads.message}", f"{header}commentary to="
        then = tuple(tuple(model.tokenizer.encode(answer)) for answer in answers)
    else:
        return None
    start, end = map(model.tokenizer.encode, markers)
    return ThinkingBudget(
        max_tokens=allowance(effort, max_tokens),
        start=start,
        end=end,
        inside=fmt.starts_in_reasoning(prompt_text),
        then=then,
    )


def allowance(effort: str | None, max_tokens: int) -> int:
    """Tokens of thinking; what is left of `max_tokens` is for the markers and the answer."""
    least = min(LEAST_ANSWER, max_tokens - max_tokens // 2)
    reserved = min(max(least, int(ANSWER_SHARE * max_tokens)), MOST_RESERVED)
    return min(int(SHARES[effort or "max"] * max_tokens), max_tokens - reserved)
