"""The doctor on other people's servers: python -m benchmarks.compatibility [chatwright|llama-cpp|vllm ...].

Starts each server in turn on the default model, writes its report to docs/compatibility/, and the page that lays them
side by side. Minutes each; some checks mean harm, and a server that generates on after its client left is slow.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import AbstractContextManager
from typing import Any

from benchmarks import home, servers
from benchmarks.machine import ROOT

REPORTS = ROOT / "docs/compatibility"
MODEL = "SmolLM2-135M-Instruct"
KEY = "examined"
TOOLS = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")
NOTES = {
    "vllm": f"vLLM runs with `{' '.join(TOOLS)}` and `--api-key`; without `--trust-request-chat-template`, since one request's"
    " template can then end the server.",
    "llama-cpp": "llama.cpp's server runs with its chat templates on and without a key.",
}


def _ours() -> AbstractContextManager[servers.Server]:
    return servers.chatwright("Chatwright", home.prepare())


def _llamacpp() -> AbstractContextManager[servers.Server]:
    return servers.llamacpp("llama.cpp's server", home.default_gguf())


def _vllm() -> AbstractContextManager[servers.Server]:
    return servers.vllm("vLLM", home.hugging_face_folder(), *TOOLS, "--api-key", KEY, key=KEY)


PEERS = {"chatwright": _ours, "llama-cpp": _llamacpp, "vllm": _vllm}


def examine(name: str) -> None:
    """Start one server, ask the doctor, keep the report."""
    with PEERS[name]() as server:
        asked = [f"http://127.0.0.1:{server.address.port}", "--model", server.address.model]
        command = [
            sys.executable,
            "-m",
            "chatwright",
            "doctor",
            *asked,
            "--key",
            server.address.key,
            "--json",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not done.stdout:
            raise SystemExit(f"the doctor of {name} said nothing:\n{done.stderr}")
        report: dict[str, Any] = json.loads(
            done.stdout.replace(f"{ROOT}/", "")
        )  # where it lies here is nobody's business
        report |= {"server": f"{server.name} ({server.version})", "model": MODEL}
        if name in NOTES:
            report["note"] = NOTES[name]
    text = json.dumps(report, ensure_ascii=False, indent=1)
    (REPORTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Examine the servers that are named, or all, and write the page."""
    for name in sys.argv[1:] or PEERS:
        examine(name)
    columns = []
    for name in PEERS:
        path = REPORTS / f"{name}.json"
        if path.exists():
            columns.append(f"{json.loads(path.read_text(encoding='utf-8'))['server']}={path}")
    subprocess.run([sys.executable, str(ROOT / "docs/compare.py"), *columns], check=True)


if __name__ == "__main__":
    main()
