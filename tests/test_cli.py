"""The installed command, run as a user runs it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass

import pytest

import chatwright
from chatwright.cli import main

HEADER = "Authorization: Bearer "


@dataclass
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """`chatwright ...` with a home of its own, to its end; in this process, which saves its imports."""
    for name in [name for name in os.environ if name.startswith("CHATWRIGHT_")]:
        monkeypatch.delenv(name)

    def run(*args, **env):
        with monkeypatch.context() as patch:
            for name, value in ({"CHATWRIGHT_HOME": str(tmp_path), "COLUMNS": "200"} | env).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["chatwright", *args])
            try:
                main()
                status = 0
            except SystemExit as ending:
                status = ending.code or 0
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture
def home_with_model(tmp_path, model_home, default_model):
    (tmp_path / "models").symlink_to(model_home / "models")
    return tmp_path


@pytest.mark.parametrize("command", [[sys.executable, "-m", "chatwright"], [f"{sys.prefix}/bin/chatwright"]])
def test_version_by_module_and_by_command(command):
    for asked in ("version", "--version"):
        done = subprocess.run([*command, asked], capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{chatwright.__version__}\n", "")


def test_no_command_shows_the_help(run):
    done = run()
    for command in ("serve", "models", "keys", "version"):
        assert command in done.stdout + done.stderr


def test_models_list_as_json(run, home_with_model, default_model):
    done = run("models", "list", "--json")
    assert done.returncode == 0
    row = next(row for row in json.loads(done.stdout) if row["slug"] == default_model.slug)
    assert row["installed"] is True
    assert row["context_length"] == 8192
    assert "smollm2" in row["aliases"]


def test_models_list_before_anything_is_installed(run, default_model):
    done = run("models", "list")
    assert done.returncode == 0
    assert default_model.slug in done.stdout
    assert "no" in done.stdout


def test_models_pull_of_an_installed_model_is_done_at_once(run, home_with_model, default_model):
    done = run("models", "pull", "smollm2")
    assert (done.returncode, done.stdout) == (0, f"{default_model.slug}\n")


def test_models_pull_registers_a_file(run, default_gguf):
    done = run("models", "pull", str(default_gguf), "--slug", "mine")
    assert (done.returncode, done.stdout) == (0, "mine\n"), done.stderr
    rows = json.loads(run("models", "list", "--json").stdout)
    assert "mine" in [row["slug"] for row in rows]


def test_models_pull_of_an_unknown_name_is_one_line(run):
    done = run("models", "pull", "no/such-model")
    assert done.returncode == 1
    assert done.stderr.startswith("chatwright: ")
    assert "no/such-model" in done.stderr
    assert "Traceback" not in done.stderr


def test_keys_are_made_listed_and_revoked(run):
    made = json.loads(run("keys", "create", "--name", "laptop", "--json").stdout)
    assert made.keys() >= {"id", "name", "key"}
    assert made["name"] == "laptop"
    listed = run("keys", "list").stdout
    assert made["id"] in listed
    assert "laptop" in listed
    assert made["key"] not in listed
    assert run("keys", "revoke", made["id"]).stdout == made["id"] + "\n"
    assert run("keys", "list").stdout != listed
    plain = run("keys", "create", "--name", "other")
    assert plain.stdout.strip() != made["key"]
    assert plain.stdout.count("\n") == 1


def test_revoking_an_unknown_key_is_one_line(run):
    done = run("keys", "revoke", "nothing")
    assert done.returncode == 1
    assert done.stderr.startswith("chatwright: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("args", "env", "part"),
    [
        (["--port", "70000"], {}, "port = 70000"),
        ([], {"CHATWRIGHT_PORT": "many"}, "port = 'many'"),
        ([], {"CHATWRIGHT_MODELS": "x"}, "models"),
        (
            [],
            {"CHATWRIGHT_PROT": "1"},
            "CHATWRIGHT_PROT: there is no such setting; did you mean CHATWRIGHT_PORT?",
        ),
        (["--config", "/nowhere.toml"], {}, "/nowhere.toml"),
        (["--log-level", "loud"], {}, "log_level = 'loud'"),
        (["--model", "no/such-model", "--port", "0"], {}, "no/such-model"),
    ],
)
def test_bad_configuration_is_one_line_that_names_the_key(run, args, env, part):
    done = run("serve", *args, **env)
    assert done.returncode == 1
    assert part in done.stderr
    assert done.stderr.startswith("chatwright: ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_bad_key_of_the_file_is_named(run, tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("prot = 1\n")
    done = run("serve", "--config", str(path))
    assert done.returncode == 1
    assert "prot: there is no such setting" in done.stderr


def test_port_in_use_is_told_at_once(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "--port", str(port))
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "in use" in done.stderr


@pytest.fixture
def served(home_with_model):
    """A server with scripted answers and no keys of the environment; its process and banner."""
    (home_with_model / "script.json").write_text('["Hello from the script."]')
    model = {"model": "smollm2", "engine": "scripted", "script": str(home_with_model / "script.json")}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CHATWRIGHT_")}
    env = inherited | {"CHATWRIGHT_HOME": str(home_with_model), "CHATWRIGHT_MODELS": json.dumps([model])}

    def start():
        process = subprocess.Popen(
            [sys.executable, "-m", "chatwright", "serve", "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        running.append(process)
        banner = []
        while not banner or not banner[-1].startswith("curl "):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            banner.append(line)
        return process, banner

    running = []
    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_banner_has_url_key_and_a_curl_line_that_works(served):
    process, banner = served()
    assert " at http://127.0.0.1:" in banner[0]
    (line,) = [line for line in banner if "shown only now" in line]
    key = line.split()[-1]
    assert key.startswith("cw-")
    done = subprocess.run(
        [*shlex.split(banner[-1]), "-s"], capture_output=True, text=True, timeout=30, check=False
    )
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == "Hello from the script."
    process.terminate()
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert key not in out + errors

    process, again = served()
    assert not any(key in line for line in again)
    assert "chatwright keys create" in "".join(again)
    headers = ["-H", HEADER + key]
    url = banner[0].split(" at ")[1].strip()
    new_url = again[0].split(" at ")[1].strip()
    assert url.endswith("/v1")
    listed = subprocess.run(
        ["curl", "-s", f"{new_url}/models", *headers], capture_output=True, text=True, timeout=30, check=False
    )
    assert json.loads(listed.stdout)["data"][0]["id"] == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_interrupt_ends_the_server_in_order(served):
    process, _ = served()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_script_that_can_not_be_read_is_one_line(run, home_with_model):
    (home_with_model / "s.json").write_text("[1]")
    model = {"model": "smollm2", "engine": "scripted", "script": str(home_with_model / "s.json")}
    done = run("serve", "--port", "0", CHATWRIGHT_MODELS=json.dumps([model]))
    assert done.returncode == 1
    assert done.stderr.startswith("chatwright: models: script = ")
