"""What model files say of themselves: a GGUF's header, or the JSON files of a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatwright.models.errors import InvalidModelFileError
from chatwright.models.gguf import GgufHeader, read_header

_TOKEN_NAMES = {"bos": "bos", "eos": "eos", "padding": "pad", "unknown": "unk"}
_GGUF_TEMPLATE = "tokenizer.chat_template"


@dataclass(frozen=True)
class Description:
    """Facts for the manifest. `chat_templates` are Jinja texts by name, "default" first among them."""

    architecture: str
    quantisation: str
    context_length: int
    vocab_size: int
    eos_token_ids: tuple[int, ...]
    special_tokens: dict[str, str]
    chat_templates: dict[str, str]
    temperature: float | None = None
    license: str = ""


def describe_gguf(header: GgufHeader) -> Description:
    """Read the keys of the GGUF specification. Raises InvalidModelFileError where they contradict each
    other.
    """
    metadata = header.metadata
    tokens = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not tokens:
        raise InvalidModelFileError("The GGUF file has no vocabulary (tokenizer.ggml.tokens).")
    special = {
        f"{short}_token": tokens[_token_id(metadata[key], len(tokens), key)]
        for name, short in _TOKEN_NAMES.items()
        if (key := f"tokenizer.ggml.{name}_token_id") in metadata
    }
    ends = [f"tokenizer.ggml.{name}_token_id" for name in ("eos", "eot", "eom")]
    return Description(
        architecture=header.architecture,
        quantisation=header.quantisation,
        context_length=header.context_length,
        vocab_size=header.vocab_size,
        eos_token_ids=_unique(
            [_token_id(metadata[key], len(tokens), key) for key in ends if key in metadata]
        ),
        special_tokens=special,
        chat_templates=_gguf_templates(metadata),
        license=str(metadata.get("general.license", "")),
    )


def describe_ir(folder: Path) -> Description:
    """Read config.json, generation_config.json, tokenizer_config.json and the chat template of an IR or a Hugging Face folder,
    as far as they are there.

    Raises InvalidModelFileError where one is no JSON object or config.json lacks what serving needs.
    """
    config, generation, tokenizer = (
        _json_object(folder / f"{name}.json") for name in ("config", "generation_config", "tokenizer_config")
    )
    inner = config.get("text_config")  # where a model's language part has its own section
    config = config | inner if isinstance(inner, dict) else config
    context, vocabulary = config.get("max_position_embeddings"), config.get("vocab_size")
    if not isinstance(context, int) or not isinstance(vocabulary, int):
        raise InvalidModelFileError(f"{folder / 'config.json'} needs max_position_embeddings and vocab_size.")
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    temperature = generation.get("temperature")
    return Description(
        architecture=str(config.get("model_type", "")),
        quantisation="",
        context_length=context,
        vocab_size=vocabulary,
        eos_token_ids=_ids(generation.get("eos_token_id", config.get("eos_token_id"))),
        special_tokens={name: text for name in names if (text := _token_text(tokenizer.get(name)))},
        chat_templates=_ir_templates(folder, tokenizer),
        temperature=float(temperature) if isinstance(temperature, int | float) else None,
    )


def own_name(path: Path) -> str:
    """What a GGUF file or an IR folder calls itself; its file name where it says nothing. Raises
    ModelError.
    """
    if path.is_dir():
        return path.name
    metadata = read_header(path).metadata
    parts = (metadata.get("general.organization"), metadata.get("general.name"))
    return "/".join(str(part) for part in parts if part) if parts[1] else path.stem


def _gguf_templates(metadata: Mapping[str, Any]) -> dict[str, str]:
    found = {"default": metadata[_GGUF_TEMPLATE]} if _GGUF_TEMPLATE in metadata else {}
    for name in metadata.get("tokenizer.chat_templates", ()):
        if isinstance(text := metadata.get(f"{_GGUF_TEMPLATE}.{name}"), str):
            found.setdefault(str(name), text)
    return {name: text for name, text in found.items() if isinstance(text, str)}


def _ir_templates(folder: Path, tokenizer: Mapping[str, Any]) -> dict[str, str]:
    """A chat_template.jinja wins over the copy in tokenizer_config.json, which may be a text or a list of
    named ones.
    """
    inside = tokenizer.get("chat_template")
    found: dict[str, str] = {}
    if isinstance(inside, str):
        found["default"] = inside
    elif isinstance(inside, list):
        found = {
            str(item["name"]): str(item["template"]) for item in inside if {"name", "template"} <= set(item)
        }
    beside = folder / "chat_template.jinja"
    if beside.is_file():
        found["default"] = beside.read_text(encoding="utf-8")
    return found


def _json_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InvalidModelFileError(f"{path} is not a JSON object.")
    return value


def _token_text(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _ids(value: object) -> tuple[int, ...]:
    values = value if isinstance(value, list) else [value]
    return _unique([item for item in values if isinstance(item, int)])


def _unique(ids: list[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(ids))


def _token_id(value: object, count: int, key: str) -> int:
    if not isinstance(value, int) or not 0 <= value < count:
        raise InvalidModelFileError(f"The GGUF file's {key} is {value!r}, outside its vocabulary of {count}.")
    return value
