"""A folder as on the Hugging Face Hub, for a model that another server runs. Nothing is copied, weights in it are not read."""

from __future__ import annotations

from pathlib import Path

from chatwright.models.entry import LocalTokenizer
from chatwright.models.errors import SourceError
from chatwright.models.layout import hash_file
from chatwright.models.sources.job import Fetched, Job

_FILES = ("config.json", "tokenizer.json")


def fetch(source: LocalTokenizer, job: Job) -> Fetched:
    """Check that the folder has what is needed; the sha256 is that of its config.json. Raises SourceError."""
    folder = Path(source.path).absolute()
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise SourceError(f"{folder} is no model folder: it lacks {', '.join(missing)}.")
    config = folder / "config.json"
    try:
        digest = hash_file(config)
    except OSError as error:
        raise SourceError(f"{config} can't be read: {error.strerror or error}.") from error
    return Fetched("tokenizer", config, digest, f"local folder {folder}")
