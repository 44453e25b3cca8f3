"""The models on disk: make sure of one, list them, register one's own file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from chatwright.models.catalog import BUILT_IN, find_entry
from chatwright.models.entry import CatalogEntry, LocalGguf, LocalIr, LocalTokenizer, check_slug
from chatwright.models.errors import ModelError, UnknownModelError
from chatwright.models.layout import locked, model_folder, models_folder
from chatwright.models.manifest import InstalledModel, read_manifest
from chatwright.models.progress import Progress
from chatwright.models.sources.job import PUBLIC, SourceSettings


def _has_ir(folder: Path) -> bool:
    return (folder / "openvino_model.xml").is_file()


@dataclass(frozen=True)
class Derivations:
    """What is made from a GGUF file by other rooms.

    `tokenizer` gives the text of a tokenizer.json for the file's metadata (ValueError where it can't);
    `convert` writes an OpenVINO IR of the file (first path) into an existing empty folder (second path), None
    where no IR is wanted. `converted` tells whether a folder holds an IR as `convert` would write it today.
    """

    tokenizer: Callable[[Mapping[str, Any]], str]
    convert: Callable[[Path, Path], None] | None = None
    converted: Callable[[Path], bool] = _has_ir


class ModelRow(msgspec.Struct, frozen=True):
    """A line of `models list`. What is only known once installed is empty before; `damage` says what is wrong
    on disk.
    """

    slug: str
    aliases: tuple[str, ...]
    installed: bool
    source: str = ""
    quantisation: str = ""
    size: int | None = None
    sha256: str | None = None
    context_length: int | None = None
    damage: str | None = None


def ensure(
    entry: CatalogEntry,
    home: Path,
    progress: Progress,
    derivations: Derivations,
    settings: SourceSettings = PUBLIC,
) -> InstalledModel:
    """The entry's model, complete on disk; fetched and derived first where it isn't. Raises ModelError.

    Safe against crashes and other processes; reads one small file and a few sizes where all is there.
    """
    folder = model_folder(home, entry.slug)
    model = _intact(folder, entry)
    if model is None or _wants_conversion(model, derivations):
        with locked(
            folder, lambda: progress.say(f"Waiting for another process that installs {entry.slug} ...")
        ):
            model = _intact(folder, entry) or _install(entry, folder, progress, derivations, settings)
            _convert(model, progress, derivations)
    return model


def ensure_named(
    name: str,
    home: Path,
    progress: Progress,
    derivations: Derivations,
    *,
    entries: Iterable[CatalogEntry] = BUILT_IN,
    settings: SourceSettings = PUBLIC,
) -> InstalledModel:
    """`ensure` for a slug or alias of the catalog or of a registered model. Raises UnknownModelError,
    ModelError.
    """
    entry = find_entry(name, entries)
    if entry is not None:
        return ensure(entry, home, progress, derivations, settings)
    model = _find_registered(name, home)
    if model is None:
        raise UnknownModelError(
            f"No model is called {name!r}; `chatwright models list` tells which there are."
        )
    if damage := model.damage():
        raise ModelError(f"{model.slug} can't be used: {damage}. Pull it again.")
    if _wants_conversion(model, derivations):
        with locked(
            model.folder, lambda: progress.say(f"Waiting for another process that converts {name} ...")
        ):
            _convert(model, progress, derivations)
    return model


def pull(
    target: str,
    home: Path,
    progress: Progress,
    derivations: Derivations,
    *,
    slug: str | None = None,
    entries: Iterable[CatalogEntry] = BUILT_IN,
    settings: SourceSettings = PUBLIC,
) -> InstalledModel:
    """Install a model of the catalog, or register a .gguf file, an IR folder or a Hugging Face folder under `slug` (default:
    its own name).

    Registered files stay where they are. Raises ModelError.
    """
    known = tuple(entries)
    path = Path(target).expanduser()
    if find_entry(target, known) is not None or not path.exists():
        if slug is not None:
            raise ModelError(f"A slug can only be given for a file or folder, and {target!r} is none.")
        return ensure_named(target, home, progress, derivations, entries=known, settings=settings)
    entry = _own_entry(path, slug)
    if find_entry(entry.slug, known) is not None:
        raise ModelError(f"{entry.slug!r} is a model of the catalog; register {path} under another slug.")
    folder = model_folder(home, entry.slug)
    with locked(folder, lambda: progress.say(f"Waiting for another process that installs {entry.slug} ...")):
        model = _install(entry, folder, progress, derivations, settings)
        _convert(model, progress, derivations)
    return model


def list_models(home: Path, entries: Iterable[CatalogEntry] = BUILT_IN) -> tuple[ModelRow, ...]:
    """The catalog's models, then the registered ones by slug, installed or not."""
    found = {model.slug: model for model in _on_disk(home)}
    rows = []
    for entry in entries:
        model = found.pop(entry.slug, None)
        rows.append(
            _row(model) if model else ModelRow(entry.slug, entry.aliases, installed=False, size=entry.size)
        )
    return (*rows, *(_row(found[slug]) for slug in sorted(found)))


def _row(model: InstalledModel) -> ModelRow:
    manifest = model.manifest
    return ModelRow(
        slug=manifest.slug,
        aliases=manifest.aliases,
        installed=True,
        source=manifest.source,
        quantisation=manifest.quantisation,
        size=manifest.weights.size,
        sha256=manifest.weights.sha256,
        context_length=manifest.context_length,
        damage=model.damage(),
    )


def _intact(folder: Path, entry: CatalogEntry) -> InstalledModel | None:
    model = read_manifest(folder)
    if model is None or model.damage() is not None:
        return None
    other = entry.sha256 is not None and model.manifest.weights.sha256 != entry.sha256
    return None if other else model


def _install(
    entry: CatalogEntry, folder: Path, progress: Progress, derivations: Derivations, settings: SourceSettings
) -> InstalledModel:
    # Imported here because it brings HTTP clients, and a model that is there must be found within
    # milliseconds.
    from chatwright.models.install import install  # noqa: PLC0415

    try:
        return install(entry, folder, progress, derivations.tokenizer, settings)
    except OSError as error:
        raise ModelError(
            f"{entry.slug} can't be installed in {folder}: {error.strerror or error}."
        ) from error


def _wants_conversion(model: InstalledModel, derivations: Derivations) -> bool:
    """A GGUF whose IR is wanted, and is missing or was made another way."""
    if derivations.convert is None or model.gguf is None:
        return False
    return not derivations.converted(model.openvino)


def _convert(model: InstalledModel, progress: Progress, derivations: Derivations) -> None:
    """Under the model's lock: make the IR where it is wanted."""
    from chatwright.models.install import convert_weights  # noqa: PLC0415

    if derivations.convert is not None and _wants_conversion(model, derivations):
        convert_weights(model, derivations.convert, progress)


def _own_entry(path: Path, slug: str | None) -> CatalogEntry:
    """An entry for a file or folder of the user's own."""
    from chatwright.models.describe import own_name  # noqa: PLC0415

    source: LocalGguf | LocalIr | LocalTokenizer
    if path.is_dir():
        has_weights = _has_ir(path) or not (path / "config.json").is_file()
        source = (LocalIr if has_weights else LocalTokenizer)(str(path.absolute()))
    elif path.suffix == ".gguf":
        source = LocalGguf(str(path.absolute()))
    else:
        raise ModelError(f"{path} is neither a .gguf file nor a folder with an OpenVINO model.")
    return CatalogEntry(check_slug(slug) if slug else _as_slug(own_name(path)), (source,))


def _as_slug(name: str) -> str:
    parts = [re.sub(r"[^A-Za-z0-9._]+", "-", part).strip("-._") for part in name.split("/")]
    return check_slug("/".join(part for part in parts if part) or "model")


def _find_registered(name: str, home: Path) -> InstalledModel | None:
    models = _on_disk(home)
    by_slug = next((model for model in models if model.slug == name), None)
    return by_slug or next((model for model in models if name in model.manifest.aliases), None)


def _on_disk(home: Path) -> tuple[InstalledModel, ...]:
    folders = sorted(path.parent for path in models_folder(home).glob("*/model.json"))
    return tuple(model for folder in folders if (model := read_manifest(folder)) is not None)
