"""Scripted answers behind the whole API: from the command line, and step by step."""

from __future__ import annotations

import asyncio
import contextlib
import json

import httpx
import openai
import pytest
import uvicorn

from chatwright.accounts.account import Account
from chatwright.api.application import build
from chatwright.api.settings import ApiSettings
from chatwright.engines.scripted import ScriptedEngine
from chatwright.rendering.renderer import Renderer
from chatwright.service.admission import Unmetered
from chatwright.service.catalog import Catalog
from chatwright.service.catalog_view import ModelCard
from chatwright.service.chat import ChatService
from chatwright.service.handoff import Handoffs
from chatwright.service.model import ServedModel

HI = [{"role": "user", "content": "Hi"}]
EOS = 2


@pytest.fixture(scope="module")
def scripted(new_home, start_server, new_api, default_tokenizer):
    """`chatwright serve` with a script and a client for it."""
    home = new_home()
    ids = default_tokenizer.encode("Given as ids.")
    script = home / "script.json"
    script.write_text(json.dumps(["Hello! 🙂 日本", [*ids, EOS, 7, 7], "a stop b"]))
    config = home / "chatwright.toml"
    config.write_text(
        f'api_keys = ["contract-key"]\n[[models]]\nmodel = "smollm2"\nengine = "scripted"\nscript = "{script}"\n'
        "interval_ms = 1\n"
    )
    with start_server(home, "--config", str(config)) as server, new_api(server.url) as api:
        yield api


def test_scripted_server_gives_its_answers_in_turn(scripted):
    assert scripted.content() == "Hello! 🙂 日本"
    second = scripted.ask(stop=["zzz"])
    assert second["choices"][0]["message"]["content"] == "Given as ids."
    assert second["usage"]["completion_tokens"] == 5
    assert second["system_fingerprint"] == "fp_scripted"
    third = scripted.stream(stop=[" stop"], stream_options={})
    assert (third.content, third.finish) == ("a", ("stop", " stop"))
    stream = scripted.stream(logprobs=True)
    assert stream.content == "Hello! 🙂 日本"
    assert not any("\ufffd" in delta for delta in stream.deltas)
    assert bytes(byte for entry in stream.logprobs for byte in entry["bytes"]).decode() == stream.content


def test_scripted_model_says_which_parameters_have_an_effect(scripted):
    (card,) = scripted.http.get("/v1/models").json()["data"]
    assert "stop" in card["supported_parameters"]
    assert "temperature" not in card["supported_parameters"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("logit_bias", {"5": 1}), ("bad", "x"), ("bad_token_ids", [5]), ("frequency_penalty", 1), ("repetition_penalty", 2),
     ("presence_penalty", 1), ("disaggregated_params", {"request_type": "context_only"})],
)  # fmt: skip
def test_other_tokens_than_those_of_the_script_are_not_promised(scripted, field, value):
    error = scripted.refused(**{field: value})
    assert (error["code"], error["param"]) == ("unsupported_parameter", field)
    assert "scripted" in error["message"]


def test_formats_are_judged_though_a_script_answers(scripted):
    schema = {"name": "n", "schema": {"type": "nothing"}}
    error = scripted.refused(response_format={"type": "json_schema", "json_schema": schema})
    assert error["code"] == "invalid_json_schema"
    scripted.ask(response_format={"type": "json_object"})


class Gated(ScriptedEngine):
    """Makes a chunk for each turn it is given."""

    def __init__(self, script, **options):
        super().__init__(lambda _: script, vocab_size=49152, **options)
        self.turns = asyncio.Semaphore(0)

    async def generate(self, request):
        async with contextlib.aclosing(super().generate(request)) as chunks:
            while True:
                await self.turns.acquire()
                try:
                    yield await anext(chunks)
                except StopAsyncIteration:
                    return


class AnyKey:
    async def authenticate(self, secret, /):
        return Account(key_id="k", name="n", project_id="p", cache_group="g")


class Ready:
    def reasons(self):
        return ()


@pytest.fixture
async def play(default_model, default_tokenizer):
    """Serve a scripted engine in this loop; gives the base URL."""
    async with contextlib.AsyncExitStack() as stack:

        async def play(engine):
            await engine.start()
            model = ServedModel(
                card=ModelCard("m", 0, "o", "m", 8192, 8191),
                engine=engine,
                tokenizer=default_tokenizer,
                renderer=Renderer(
                    default_model.chat_templates(), default_model.manifest.special_tokens, None, 8192
                ),
                format=None,
                context_length=8192,
                eos_token_ids=(EOS,),
            )
            catalog = Catalog([model])
            service = ChatService(catalog, Unmetered(), Handoffs(b"secret"))
            settings = ApiSettings(headers_after=0.01, heartbeat_every=0.01)
            http = uvicorn.Server(
                uvicorn.Config(build(service, catalog, AnyKey(), Ready(), settings), port=0, log_config=None)
            )
            serving = asyncio.create_task(http.serve())

            async def stop():
                http.should_exit = True
                await serving

            stack.push_async_callback(stop)
            while not http.started:
                await asyncio.sleep(0)
            return f"http://127.0.0.1:{http.servers[0].sockets[0].getsockname()[1]}/v1"

        yield play


async def test_each_token_is_sent_when_it_is_made(play, default_tokenizer):
    tokens = default_tokenizer.encode("one two three")
    engine = Gated(tokens)
    url = await play(engine)
    async with openai.AsyncOpenAI(api_key="k", base_url=url) as sdk:
        opening = asyncio.create_task(sdk.chat.completions.create(model="m", messages=HI, stream=True))
        engine.turns.release()
        stream = await opening
        texts = []
        for number in range(len(tokens)):
            if number:
                engine.turns.release()
            while True:  # the next text can only come from the token just released
                chunk = await anext(stream)
                if chunk.choices[0].delta.content:
                    texts.append(chunk.choices[0].delta.content)
                    break
            assert (await engine.stats()).generated_tokens == number + 1
        assert texts == [default_tokenizer.token_text(token) for token in tokens]
        assert [chunk.choices[0].finish_reason async for chunk in stream] == ["stop"]


async def test_waiting_stream_is_kept_alive_and_the_client_does_not_mind(play, default_tokenizer):
    engine = Gated(default_tokenizer.encode("late"))
    url = await play(engine)
    body = {"model": "m", "messages": HI, "stream": True}
    headers = {"authorization": "Bearer k"}
    async with (
        httpx.AsyncClient() as client,
        client.stream("POST", f"{url}/chat/completions", json=body, headers=headers) as response,
    ):
        lines = response.aiter_lines()
        assert await anext(lines) == ": keep-alive"
        engine.turns.release()
        rest = [line async for line in lines if line.startswith("data: ")]
    assert '"content":"late"' in "".join(rest)
    async with openai.AsyncOpenAI(api_key="k", base_url=url) as sdk:
        stream = await sdk.chat.completions.create(model="m", messages=HI, stream=True)
        engine.turns.release()
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "late"


@pytest.mark.parametrize("made", [1, 2])
async def test_failure_in_mid_stream_is_an_error_event(play, default_tokenizer, made):
    tokens = default_tokenizer.encode("one two three")
    url = await play(ScriptedEngine(lambda _: tokens, vocab_size=49152, fail_after=made))
    async with httpx.AsyncClient(headers={"authorization": "Bearer k"}) as client:
        body = {"model": "m", "messages": HI, "stream": True, "stream_options": {}}
        events = (await client.post(f"{url}/chat/completions", json=body)).text.split("\n\n")[:-1]
        events = [event for event in events if not event.startswith(":")]
    assert events[-1] == "data: [DONE]"
    error = json.loads(events[-2].removeprefix("data: "))
    assert error.keys() == {"error"}
    assert error["error"]["code"] == "internal_error"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text == default_tokenizer.token_text(tokens[0]) + "".join(
        default_tokenizer.token_text(token) for token in tokens[1:made]
    )
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks)
    async with openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0) as sdk:
        stream = await sdk.chat.completions.create(model="m", messages=HI, stream=True)
        with pytest.raises(openai.APIError):
            [chunk async for chunk in stream]
        with pytest.raises(openai.InternalServerError):
            await sdk.chat.completions.create(model="m", messages=HI)


async def test_failure_before_the_first_token_has_a_status(play):
    url = await play(ScriptedEngine(lambda _: (5, 6), vocab_size=49152, fail_after=0))
    async with openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0) as sdk:
        with pytest.raises(openai.InternalServerError):
            await sdk.chat.completions.create(model="m", messages=HI, stream=True)
