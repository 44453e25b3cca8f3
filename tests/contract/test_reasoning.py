"""A model that thinks: the default one, whose template is made to open a think block (contract 7.5, 11)."""

from __future__ import annotations

import json
import shutil

import jsonschema
import pytest

ASK = [{"role": "user", "content": "What is two and two?"}]
THINKING = """{# </think> #}{% for message in messages %}{{ '<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>
' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
<think>
' }}{% endif %}"""
DIGIT = {
    "type": "object",
    "properties": {"digit": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["digit"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "digit", "schema": DIGIT}}
TOOL = {"type": "function", "function": {"name": "tell", "parameters": DIGIT}}
CALL = {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False}


@pytest.fixture(scope="module")
def thinker(default_model, tmp_path_factory, start_server, new_api):
    """A server whose only model has that template."""
    home = tmp_path_factory.mktemp("thinker")
    folder = home / "models" / default_model.folder.name
    folder.mkdir(parents=True)
    for path in default_model.folder.iterdir():
        if path.suffix == ".gguf":
            (folder / path.name).symlink_to(path)
        elif path.is_file():
            shutil.copy(path, folder / path.name)
    manifest = json.loads((folder / "model.json").read_text())
    record = manifest["chat_templates"]["default"]
    (folder / record["path"]).write_text(THINKING)
    manifest["chat_templates"]["default"] = {**record, "size": len(THINKING.encode()), "sha256": None}
    (folder / "model.json").write_text(json.dumps(manifest))
    with start_server(home, CHATWRIGHT_API_KEYS="contract-key") as server, new_api(server.url) as api:
        yield api


def ask(api, **members):
    asked = {"messages": ASK, "temperature": 1.5, "seed": 3, "max_tokens": 200, **members}
    answer = api.ask(**asked)
    return answer["choices"][0], answer["usage"]


@pytest.mark.parametrize(
    ("effort", "share"), [("none", 0), ("minimal", 0.05), ("low", 0.2), ("medium", 0.5), ("max", 1)]
)
@pytest.mark.parametrize("asked", [{"response_format": FORMAT}, CALL], ids=["schema", "call"])
def test_every_effort_leaves_an_answer_that_obeys(thinker, effort, share, asked):
    choice, usage = ask(thinker, reasoning_effort=effort, **asked)
    message = choice["message"]
    if "tools" in asked:
        assert choice["finish_reason"] == "tool_calls"
        (call,) = message["tool_calls"]
        jsonschema.validate(json.loads(call["function"]["arguments"]), DIGIT)
    else:
        assert choice["finish_reason"] == "stop"
        jsonschema.validate(json.loads(message["content"]), DIGIT)
    thought = usage["completion_tokens_details"]["reasoning_tokens"]
    assert 0 < thought <= 200 * share + 8
    assert effort != "none" or "reasoning_content" not in message
    assert "think>" not in (message["content"] or "")


def test_free_text_is_not_eaten_by_thinking(thinker):
    choice, usage = ask(thinker, max_tokens=40, ignore_eos=True)
    assert choice["message"]["reasoning_content"]
    assert choice["message"]["content"]
    assert choice["finish_reason"] == "length"
    assert usage["completion_tokens"] == 40
    assert usage["completion_tokens_details"]["reasoning_tokens"] <= 28


def test_stream_and_whole_answer_agree(thinker):
    asked = {"messages": ASK, "temperature": 1, "seed": 5, "max_tokens": 120, "reasoning_effort": "low"}
    whole = thinker.ask(**asked)
    streamed = thinker.stream(**asked, stream_options={})
    reasoning = "".join(choice["delta"].get("reasoning_content") or "" for choice in streamed.choices)
    message = whole["choices"][0]["message"]
    assert (reasoning, streamed.content) == (message["reasoning_content"], message["content"])
    counted = "completion_tokens_details"
    assert streamed.usage[counted]["reasoning_tokens"] == whole["usage"][counted]["reasoning_tokens"]
    kinds = ["reasoning_content" in choice["delta"] for choice in streamed.choices if choice["delta"]]
    assert kinds[1:] == sorted(kinds[1:], reverse=True), "thinking comes first"
