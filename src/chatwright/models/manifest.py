"""What is known of an installed model, as it lies in its folder's model.json."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

VERSION = 1
"""Raised whenever the manifest or anything derived from the weights changes: older installations are then
derived anew.
"""


class FileRecord(msgspec.Struct, frozen=True):
    """A file of the model: its path (relative to the model's folder, or absolute), bytes, and sha256 where
    known.
    """

    path: str
    size: int
    sha256: str | None = None


class Manifest(msgspec.Struct, frozen=True):
    """Everything the server needs to know of a model but its weights.

    `weights` is the GGUF file, the IR's openvino_model.xml, or the config.json of a model whose weights are elsewhere
    (tokenizer). `chat_templates` maps names ("default",
    "tool_use") to files. `temperature` is what the model ships as its own default, if any.
    """

    version: int
    slug: str
    source: str
    engine: str
    format: Literal["gguf", "openvino", "tokenizer"]
    architecture: str
    quantisation: str
    context_length: int
    vocab_size: int
    weights: FileRecord
    tokenizer: FileRecord
    chat_templates: dict[str, FileRecord]
    eos_token_ids: tuple[int, ...]
    special_tokens: dict[str, str]
    aliases: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    temperature: float | None = None
    license: str = ""


class InstalledModel(msgspec.Struct, frozen=True):
    """A model on disk, complete and checked."""

    folder: Path
    manifest: Manifest

    @property
    def slug(self) -> str:
        """Its name in requests."""
        return self.manifest.slug

    @property
    def gguf(self) -> Path | None:
        """The GGUF file; None for a model that came as OpenVINO IR, or without weights."""
        return self._path(self.manifest.weights) if self.manifest.format == "gguf" else None

    @property
    def openvino(self) -> Path:
        """The folder of the IR. For a model from a GGUF it exists once it has been converted."""
        return self.folder / "openvino" if self.gguf else self._path(self.manifest.weights).parent

    @property
    def has_weights(self) -> bool:
        """Whether it can run here; else another server has its weights."""
        return self.manifest.format != "tokenizer"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer.json."""
        return self._path(self.manifest.tokenizer)

    def chat_templates(self) -> dict[str, str]:
        """Jinja text by name; empty where the model has none. Reads the files."""
        templates = self.manifest.chat_templates.items()
        return {name: self._path(record).read_text(encoding="utf-8") for name, record in templates}

    @property
    def chat_template(self) -> str | None:
        """The Jinja text used when nothing asks for another one. Reads the file."""
        record = self.manifest.chat_templates.get("default")
        return self._path(record).read_text(encoding="utf-8") if record else None

    def damage(self) -> str | None:
        """What is missing or has another size than recorded; None where all is well."""
        for record in (
            self.manifest.weights,
            self.manifest.tokenizer,
            *self.manifest.chat_templates.values(),
        ):
            path = self._path(record)
            try:
                size = path.stat().st_size
            except OSError:
                return f"{path} is missing"
            if size != record.size:
                return f"{path} has {size} bytes instead of {record.size}"
        return None

    def _path(self, record: FileRecord) -> Path:
        return self.folder / record.path


def read_manifest(folder: Path) -> InstalledModel | None:
    """The model in `folder`; None where there is none or its manifest is of another version."""
    try:
        manifest = msgspec.json.decode((folder / "model.json").read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError):
        return None
    return InstalledModel(folder, manifest) if manifest.version == VERSION else None


def encode_manifest(manifest: Manifest) -> bytes:
    """The text of model.json."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
