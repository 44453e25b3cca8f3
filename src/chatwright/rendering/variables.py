"""Which template variables a request may set (contract 3.8)."""

from __future__ import annotations

from collections.abc import Iterable

from chatwright.core.errors import InvalidValue

CONTRACT_NAMES = frozenset(
    {"messages", "tools", "documents", "add_generation_prompt", "continue_final_message"}
)
"""Set by the fields of the request itself."""

TOKENIZER_NAMES = frozenset(
    f"{kind}_token" for kind in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
) | frozenset({"additional_special_tokens"})

RENDERER_NAMES = frozenset(
    (
        "chat_template",
        "conversation",
        "tokenize",
        "tokenizer_kwargs",
        "padding",
        "truncation",
        "max_length",
        "return_tensors",
        "return_dict",
        "return_assistant_tokens_mask",
        "processor_kwargs",
    )
)
"""Arguments of apply_chat_template in other servers: a client expects an effect of them, not a variable."""

GLOBAL_NAMES = frozenset(
    (
        "raise_exception",
        "strftime_now",
        "namespace",
        "dict",
        "range",
        "cycler",
        "joiner",
        "lipsum",
        "loop",
        "self",
        "caller",
        "varargs",
        "kwargs",
    )
)
"""Functions of the template language; a variable of that name would replace them."""

RESERVED = CONTRACT_NAMES | TOKENIZER_NAMES | RENDERER_NAMES | GLOBAL_NAMES


def check_variables(names: Iterable[str], special_tokens: Iterable[str] = ()) -> None:
    """Refuse names that a request can't set. Raises InvalidValue with param `chat_template_args`."""
    reserved = RESERVED | frozenset(special_tokens)
    for name in names:
        if name in reserved:
            raise InvalidValue(
                f"chat_template_args can't set '{name}': the name is reserved.", param="chat_template_args"
            )
