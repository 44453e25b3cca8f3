"""A served model around a scripted engine: the real tokenizer and template, given tokens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from chatwright.accounts.account import Account
from chatwright.core.chat import ChatRequest, OutputOptions, PromptOptions
from chatwright.core.generation import GenerationRequest, TokenChunk
from chatwright.core.messages import Message
from chatwright.core.sampling import SamplingChoices
from chatwright.engines.scripted import ScriptedEngine
from chatwright.rendering.renderer import Renderer
from chatwright.service.admission import Unmetered
from chatwright.service.catalog import Catalog
from chatwright.service.catalog_view import ModelCard
from chatwright.service.chat import ChatService
from chatwright.service.handoff import Handoffs
from chatwright.service.model import ServedModel

ACCOUNT = Account(key_id="k1", name="test", project_id="p1", cache_group="g1")
SLUG = "owner/model"
EOS = 2


class Recut(ScriptedEngine):
    """Gives the script's tokens in pieces of the sizes it is told, empty pieces included; remembers requests."""

    def __init__(self, tokens: tuple[int, ...], sizes: tuple[int, ...] = (), **options: Any) -> None:
        super().__init__(lambda _: tokens, vocab_size=49152, unsupported=(), **options)
        self.sizes = sizes
        self.requests: list[GenerationRequest] = []
        self.closed = 0

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
        self.requests.append(request)
        single = [chunk async for chunk in super().generate(request)]
        sizes = iter(self.sizes)
        try:
            while single:
                size = next(sizes, len(single))
                part, single = single[:size], single[size:]
                yield _merged(part)
        finally:
            self.closed += 1


def _merged(chunks: list[TokenChunk]) -> TokenChunk:
    if not chunks:
        return TokenChunk()
    last = chunks[-1]
    return TokenChunk(
        token_ids=tuple(token for chunk in chunks for token in chunk.token_ids),
        logprobs=tuple(entry for chunk in chunks for entry in chunk.logprobs),
        finish=last.finish,
        stop_token=last.stop_token,
        stop_token_is_eos=last.stop_token_is_eos,
    )


@pytest.fixture(scope="session")
def recut() -> type[Recut]:
    return Recut


@pytest.fixture(scope="session")
def account() -> Account:
    return ACCOUNT


@pytest.fixture(scope="session")
def new_model(default_model, default_tokenizer) -> Callable[..., ServedModel]:
    """Make a ServedModel; what isn't said is as the default model has it."""
    renderer = Renderer(
        default_model.chat_templates(), default_model.manifest.special_tokens, None, context_length=8192
    )

    def make(engine: ScriptedEngine, **fields: Any) -> ServedModel:
        card = ModelCard(SLUG, 0, "owner", "model", 8192, 8191, aliases=("alias",))
        values = {
            "card": card,
            "engine": engine,
            "tokenizer": default_tokenizer,
            "renderer": renderer,
            "format": None,
            "context_length": 8192,
            "eos_token_ids": (EOS,),
        }
        return ServedModel(**values | fields)

    return make


@pytest.fixture(scope="session")
def new_service() -> Callable[..., ChatService]:
    return lambda *models: ChatService(Catalog(models), Unmetered(), Handoffs(b"secret"))


@pytest.fixture(scope="session")
def new_request() -> Callable[..., ChatRequest]:
    """Make a ChatRequest from the members of its parts, flat."""

    def make(**members: Any) -> ChatRequest:
        parts = {}
        for name, cls in (
            ("sampling", SamplingChoices),
            ("prompt", PromptOptions),
            ("output", OutputOptions),
        ):
            own = {key: members.pop(key) for key in cls.__struct_fields__ if key in members}
            parts[name] = cls(**own)
        base = {"model": SLUG, "messages": (Message("user", "Hi"),)}
        return ChatRequest(**base | parts | members)

    return make


@pytest.fixture
async def opened(new_model, new_service, account):
    """Open an answer of a scripted engine that has been started."""

    async def open_answer(engine: ScriptedEngine, request: ChatRequest, **fields: Any):
        await engine.start()
        return await new_service(new_model(engine, **fields)).open(request, account, request_id="r")

    return open_answer
