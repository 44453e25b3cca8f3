"""The benchmark's own CHATWRIGHT_HOME and model files, in .bench/, linked to the user's where they are the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import platformdirs

from benchmarks.machine import ROOT
from chatwright.engines.openvino.convert import convert
from chatwright.models.catalog import DEFAULT_SLUG
from chatwright.models.layout import model_folder

WORK = ROOT / ".bench"
HOME = WORK / "home"


def prepare() -> Path:
    """Copy the default model into a home of the benchmark's own; fetch it first where the user has none."""
    theirs = Path(os.environ.get("CHATWRIGHT_HOME") or platformdirs.user_data_path("chatwright"))
    source, target = model_folder(theirs, DEFAULT_SLUG), model_folder(HOME, DEFAULT_SLUG)
    if not (source / "model.json").exists():
        pull = [sys.executable, "-m", "chatwright", "models", "pull", DEFAULT_SLUG, "--home", str(theirs)]
        subprocess.run(pull, check=True)
    if not (target / "model.json").exists():
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, copy_function=link)
    return HOME


def link(source: str | Path, target: str | Path) -> None:
    """Hard link where both are on one disk, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def default_folder(where: Path = HOME) -> Path:
    """Where the default model lies in a home."""
    return model_folder(where, DEFAULT_SLUG)


def default_gguf() -> Path:
    """Its weights."""
    return default_folder() / "model.gguf"


def tokenizer_json(where: Path = HOME) -> Path:
    """Its tokenizer."""
    return default_folder(where) / "tokenizer.json"


_TO_OPENVINO = 'import sys, openvino_genai as g; g.LLMPipeline(sys.argv[1], "CPU", enable_save_ov_model=True)'


def openvino_folder(gguf: Path | None = None, name: str = "default") -> Path:
    """A folder with the OpenVINO model and tokenizers of a GGUF, made once."""
    folder = WORK / "openvino" / name
    if not (folder / "openvino_model.xml").exists():
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "model.gguf").exists():
            link(gguf or default_gguf(), folder / "model.gguf")
        subprocess.run([sys.executable, "-c", _TO_OPENVINO, str(folder / "model.gguf")], check=True)
    return folder


def own_openvino(gguf: Path | None = None, name: str = "default") -> Path:
    """The graph that our OpenVINO engine runs, made from a GGUF once: GenAI's own reading of it loses the minima of Q4_1."""
    return convert(gguf or default_gguf(), WORK / "openvino" / f"{name}-ours")


def hugging_face_folder() -> Path:
    """The default model as bf16 safetensors for vLLM, made once by its environment."""
    folder = WORK / "huggingface"
    told = folder / "tokenizer_config.json"
    if not told.exists() or "eos_token" not in told.read_text():  # written last
        prepare()
        script = str(ROOT / "benchmarks/peers/vllm_model.py")
        python = str(ROOT / ".venv-vllm/bin/python")
        subprocess.run([python, script, str(default_gguf()), str(folder)], check=True)
        shutil.copy2(default_folder() / "chat_template.jinja", folder)
    return folder
