"""What a source is asked for, and what it hands over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from chatwright.models.progress import Progress


class SourceSettings(msgspec.Struct, frozen=True):
    """Where the network sources are. `patience` is how long, in seconds, a silent server is waited for at
    first contact.
    """

    index_url: str = "https://pypi.org/simple"
    hub_url: str = "https://huggingface.co"
    patience: float = 3.0


PUBLIC = SourceSettings()
"""The public index and hub."""


@dataclass(frozen=True)
class Job:
    """Fetch a weights file into `folder`; its `sha256` and `size` (bytes) where the catalog knows them."""

    folder: Path
    sha256: str | None
    size: int | None
    settings: SourceSettings
    progress: Progress

    @property
    def target(self) -> Path:
        """Where a GGUF file is to lie."""
        return self.folder / "model.gguf"


@dataclass(frozen=True)
class Fetched:
    """A checked weights file, a GGUF or an openvino_model.xml, or the config.json of a model whose weights are elsewhere; and
    where it came from, in words for people.
    """

    format: Literal["gguf", "openvino", "tokenizer"]
    weights: Path
    sha256: str | None
    origin: str
