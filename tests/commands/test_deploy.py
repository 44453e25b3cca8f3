"""`chatwright deploy` before it reaches a cluster."""

from __future__ import annotations

import importlib.util

import pytest
from typer.testing import CliRunner

from chatwright.cli import app
from chatwright.commands.deploy import _labels
from chatwright.config import ConfigError


def test_without_ray_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["deploy", "--home", str(tmp_path)])
    assert isinstance(result.exception, ConfigError)
    assert "pip install 'chatwright[ray]'" in str(result.exception)


def test_labels_are_pairs():
    assert _labels(["role=api", "zone=a=b"]) == {"role": "api", "zone": "a=b"}
    assert _labels([]) == {}


@pytest.mark.parametrize("text", ["role", "=api", "role=", "="])
def test_a_label_that_is_no_pair_is_refused(text):
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        _labels([text])
