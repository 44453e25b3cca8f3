"""File, environment and flags; errors name the key."""

from __future__ import annotations

import pytest

from chatwright.config import ConfigError, Settings, load


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    import os

    for name in [name for name in os.environ if name.startswith("CHATWRIGHT_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "chatwright.toml"
        path.write_text(text)
        return path

    return write


def test_defaults_serve_the_default_model_on_this_machine_only():
    settings = load()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert [one.model for one in settings.models] == ["HuggingFaceTB/SmolLM2-135M-Instruct"]
    assert settings.home.is_absolute()


def test_flags_win_over_environment_over_file(write, monkeypatch):
    path = write('port = 1111\nhost = "0.0.0.0"\nlog_level = "error"\n')
    monkeypatch.setenv("CHATWRIGHT_PORT", "2222")
    monkeypatch.setenv("CHATWRIGHT_LOG_LEVEL", "debug")
    settings = load(path, port=3333, host=None)
    assert (settings.port, settings.log_level, settings.host) == (3333, "debug", "0.0.0.0")


def test_file_may_be_named_by_the_environment(write, monkeypatch):
    monkeypatch.setenv("CHATWRIGHT_CONFIG", str(write("port = 4444")))
    assert load().port == 4444


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CHATWRIGHT_PROT", "did you mean CHATWRIGHT_PORT?"),
        (
            "chatwright_modells",
            "chatwright_modells: there is no such setting; did you mean CHATWRIGHT_MODELS?",
        ),
        ("CHATWRIGHT_", "CHATWRIGHT_: there is no such setting"),
        ("CHATWRIGHT_XYZZY__A", "CHATWRIGHT_XYZZY__A: there is no such setting"),
    ],
)
def test_names_in_the_environment_that_mean_nothing_are_refused(monkeypatch, name, said):
    monkeypatch.setenv(name, "secret-value")
    with pytest.raises(ConfigError) as caught:
        load()
    assert said in str(caught.value)
    assert "secret-value" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHATWRIGHT_API_KEY", "cw-1"),
        ("CHATWRIGHT_SIMULATION_SECONDS", "300"),
        ("CHATWRIGHT_TEST_HOME", "/tmp"),
        ("CHATWRIGHT_SERVICE_HOST", "10.0.0.1"),
        ("CHATWRIGHT_SERVICE_PORT_HTTP", "80"),
        ("CHATWRIGHT_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("CHATWRIGHT_API_PORT", "tcp://10.0.0.1:8000"),
        ("chatwright_log_level", "error"),
        ("CHATWRIGHT", "1"),
        ("CHATWRIGHTS_PORT", "1"),
    ],
)
def test_names_that_others_give_are_no_fault(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert load().port == 8000


def test_models_of_the_file(write):
    settings = load(
        write(
            '[[models]]\nmodel = "smollm2"\nengine = "openvino"\ncontext_length = 512\naliases = ["a", "b"]\n'
            '[[models]]\nmodel = "x.gguf"\n'
        )
    )
    assert [(one.model, one.engine, one.context_length) for one in settings.models] == [
        ("smollm2", "openvino", 512),
        ("x.gguf", None, None),
    ]
    assert settings.models[0].aliases == ["a", "b"]


def test_models_of_the_environment_are_json(monkeypatch):
    monkeypatch.setenv("CHATWRIGHT_MODELS", '[{"model": "m", "threads": 1}]')
    assert load().models[0].threads == 1


@pytest.mark.parametrize(("text", "keys"), [("a,b", ["a", "b"]), (" a , ,b,", ["a", "b"]), ("", [])])
def test_keys_of_the_environment_are_separated_by_commas(monkeypatch, text, keys):
    monkeypatch.setenv("CHATWRIGHT_API_KEYS", text)
    assert load().api_keys == keys


def test_keys_of_the_file_are_a_list(write):
    assert load(write('api_keys = ["a", "b,c"]')).api_keys == ["a", "b,c"]


def test_home_is_made_absolute(monkeypatch):
    monkeypatch.setenv("CHATWRIGHT_HOME", "~/somewhere")
    assert load().home.is_absolute()
    assert "~" not in str(load().home)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("prot = 1", ["prot", "no such setting"]),
        ("port = 65536", ["port", "65536", "65535"]),
        ('port = "abc"', ["port", "'abc'"]),
        ("max_body_mib = 0", ["max_body_mib", "greater than 0"]),
        ('log_level = "loud"', ["log_level", "'loud'", "debug|info|warning|error"]),
        ("models = []", ["models"]),
        ('[[models]]\nmodel = ""', ["models.[0].model"]),
        ('[[models]]\nmodel = "m"\nengin = "native"', ["models.[0].engin", "no such setting"]),
        (
            '[[models]]\nmodel = "m"\nengine = "gpu"',
            ["models.[0].engine", "'gpu'", "'sglang' or 'trtllm'"],
        ),
        ('[[models]]\nmodel = "m"\nengine = "vllm"', ["models.[0]", "backends is missing"]),
        (
            '[[models]]\nmodel = "m"\n[[models.backends]]\nurl = "http://a"',
            ["models.[0]", "backends is only"],
        ),
        (
            '[[models]]\nmodel = "m"\n[models.ray]\ncommand = ["vllm", "--port", "{port}"]',
            ["models.[0]", "ray.command is only"],
        ),
        (
            '[[models]]\nmodel = "m"\nengine = "vllm"\n[models.ray]\ncommand = ["vllm", "--port", "8000"]',
            ["models.[0]", "{port}"],
        ),
        (
            '[[models]]\nmodel = "m"\nengine = "vllm"\nbackends = [{ url = "http://a" }]\n'
            '[models.ray]\ncommand = ["{port}"]',
            ["models.[0]", "backends and ray.command"],
        ),
        ('[[models]]\nmodel = "m"\nreplicas = 2\n[models.pools]\nprefill = 1', ["models.[0]", "give one"]),
        (
            '[[models]]\nmodel = "m"\n[models.ray]\nmin_replicas = 3\nmax_replicas = 2',
            ["models.[0].ray", "at least min_replicas, 3"],
        ),
        ('[[models]]\nmodel = "m"\nkv_cache_gib = -1', ["models.[0].kv_cache_gib", "-1"]),
        ('[[models]]\nmodel = "m"\nengine = "scripted"', ["models.[0]", "script is missing"]),
        (
            '[[models]]\nmodel = "m"\nengine = "scripted"\nscript = "s"\nreproducible = false',
            ["models.[0]", "reproducible is for engine processes"],
        ),
        ('[[models]]\nmodel = "m"\nscript = "s.json"', ["models.[0]", "script is only for"]),
        ('[[models]]\nmodel = "m"\ninterval_ms = 5', ["models.[0]", "interval_ms is only for"]),
        ("port = ", ["chatwright.toml", "no TOML"]),
        ("port = 99999\nstep_tokens = 0", ["port", "step_tokens"]),
    ],
)
def test_error_names_key_value_and_what_is_allowed(write, text, parts):
    with pytest.raises(ConfigError) as caught:
        load(write(text))
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("CHATWRIGHT_PORT", "many", "port"),
        ("CHATWRIGHT_MODELS", "not json", "models"),
        ("CHATWRIGHT_STEP_TOKENS", "0", "step_tokens"),
        ("CHATWRIGHT_PREFIX_CACHE", "perhaps", "prefix_cache"),
    ],
)
def test_bad_environment_names_the_key(monkeypatch, name, value, key):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=key):
        load()


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load(tmp_path / "nowhere.toml")


def test_scripted_model(write):
    text = (
        '[[models]]\nmodel = "m"\nengine = "scripted"\nscript = "s.json"\ninterval_ms = 20\nfail_after = 3\n'
    )
    (one,) = load(write(text)).models
    assert (str(one.script), one.interval_ms, one.fail_after) == ("s.json", 20, 3)


def test_every_setting_says_what_it_is():
    assert all(field.description for field in Settings.model_fields.values())
