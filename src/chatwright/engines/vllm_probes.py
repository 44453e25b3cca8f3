"""What a vLLM server serves, and by small requests what it was started with."""

from __future__ import annotations

from typing import Any

from chatwright.core.errors import EngineFailed
from chatwright.engines.remote.dialect import Answer, Ask
from chatwright.engines.remote.failures import message_of

NAME = "vllm"
PATH = "/inference/v1/generate"
PROCESSOR = "chatwright"
"""The key under which our logits processors for vLLM (deploy/vllm) find what they need."""
DEFAULT_MAX_LOGPROBS = 20
PREFILL = {"do_remote_decode": True, "do_remote_prefill": False}
ONE_TOKEN = {"max_tokens": 1, "temperature": 0, "detokenize": False}
PROBES: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "priority": ({"priority": 1}, {}, True),
    "max_logprobs": ({}, {"logprobs": DEFAULT_MAX_LOGPROBS + 1}, True),
    # A tag of a kind that only the other backends know: refused where Lark is taken for what it is.
    "guidance": (
        {},
        {
            "structured_outputs": {
                "structural_tag": '{"type": "structural_tag", "format": {"type": "any_text"}}'
            }
        },
        False,
    ),
    # Our processor refuses this key, and nobody else reads it.
    "processor": ({}, {"extra_args": {PROCESSOR: {"probe": True}}}, False),
    "kv_transfer": ({"kv_transfer_params": PREFILL}, {}, True),
}
"""By feature: members of a request, its sampling parameters, and whether a server with the feature accepts it."""


async def has_feature(ask: Ask, model: str, feature: str) -> bool:
    """Raises EngineFailed where the server has no such route, or fails."""
    members, sampling, accepts = PROBES[feature]
    body = {"model": model, "token_ids": [0], "sampling_params": ONE_TOKEN | sampling} | members
    answer = await ask("POST", PATH, body)
    if answer.status in (403, 404):
        raise EngineFailed(f"{NAME} has no {PATH}: start it with --enable-scale-out.")
    if answer.status not in (200, 400, 422):
        raise _unexpected(answer)
    if feature == "kv_transfer":
        return isinstance(answer.body, dict) and bool(answer.body.get("kv_transfer_params"))
    return (answer.status == 200) is accepts


async def ends_grammars(ask: Ask, model: str, ends: tuple[int, ...]) -> bool:
    """Whether an answer that its grammar has ended ends with an EOS id of ours; else text without a rule would follow."""
    sampling = {"structured_outputs": {"grammar": 'start: "a"'}, "stop_token_ids": ends, "ignore_eos": True}
    told = ONE_TOKEN | sampling | {"max_tokens": 4}
    answer = await ask("POST", PATH, {"model": model, "token_ids": [0], "sampling_params": told})
    choices = answer.body.get("choices") if isinstance(answer.body, dict) else None
    return bool(choices and choices[0].get("stop_reason") in ends)


def _unexpected(answer: Answer) -> EngineFailed:
    return EngineFailed(f"{NAME} answered {answer.status}: {message_of(answer.body)[:200]}")


def served_model(body: Any, wanted: str | None) -> tuple[str, int | None]:
    """The model's name there and its context length. Raises EngineFailed."""
    listed = body.get("data") if isinstance(body, dict) else None
    if not isinstance(listed, list) or not listed:
        raise EngineFailed(f"{NAME} lists no models: {message_of(body)[:200]}")
    for one in listed:
        if wanted is None or one.get("id") == wanted:
            length = one.get("max_model_len")
            return str(one["id"]), length if isinstance(length, int) else None
    names = ", ".join(str(one.get("id")) for one in listed)
    raise EngineFailed(f"{NAME} doesn't serve {wanted!r}; it serves {names}.")
