"""A scripted service, an application around it, and a real server on a free port."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from chatwright.accounts.account import Account
from chatwright.accounts.limits import RateLimitStatus
from chatwright.api.application import build
from chatwright.api.settings import ApiSettings
from chatwright.core.chat import ChatRequest
from chatwright.core.deltas import Delta, Finished, Started, TextDelta
from chatwright.core.errors import InvalidApiKey
from chatwright.core.usage import Usage
from chatwright.service.answer import Answer
from chatwright.service.catalog_view import ModelCard

KEY = "sk-test"
AUTH = {"authorization": f"Bearer {KEY}"}
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
ACCOUNT = Account(key_id="k1", name="test", project_id="p1", cache_group="g1")

Script = Callable[[ChatRequest], AsyncIterator[Delta]]


async def hello(request: ChatRequest) -> AsyncIterator[Delta]:
    """Started, two texts, Finished."""
    yield Started("assistant", Usage(7))
    yield TextDelta("Hello", Usage(7, 1))
    yield TextDelta(" world", Usage(7, 2))
    yield Finished("stop", None, Usage(7, 3))


class FakeService:
    """Opens scripted answers, and remembers how they were asked for and whether they were closed."""

    def __init__(self, script: Script = hello) -> None:
        self.script = script
        self.calls: list[dict[str, object]] = []
        self.opened = threading.Event()
        self.closed = threading.Event()
        self.refusal: Exception | None = None
        self.refused_at_once: Exception | None = None
        self.lookup_fails: Exception | None = None
        self.status = RateLimitStatus()
        self.status_of_answer: Callable[[], RateLimitStatus] = RateLimitStatus
        self.truncated_tokens = 0
        self.unused_variables: tuple[str, ...] = ()
        self.checked_keywords: tuple[str, ...] = ()

    async def check(self, account: Account) -> RateLimitStatus:
        if self.refused_at_once is not None:
            raise self.refused_at_once
        return self.status

    async def limits(self, account: Account) -> RateLimitStatus:
        if self.lookup_fails is not None:
            raise self.lookup_fails
        return self.status

    async def open(
        self,
        request: ChatRequest,
        account: Account,
        *,
        request_id: str,
        affinity: str | None = None,
        deadline: float | None = None,
    ) -> Answer:
        call = {
            "request": request,
            "account": account,
            "request_id": request_id,
            "affinity": affinity,
            "deadline": deadline,
        }
        self.calls.append(call)
        if self.refusal is not None:
            raise self.refusal
        self.answer = Answer(
            id="chatcmpl-" + "0" * 32,
            created=1_700_000_000,
            model=request.model,
            fingerprint=lambda: "fp_test",
            prompt_tokens=7,
            deltas=self._deltas(request),
            truncated_tokens=self.truncated_tokens,
            unused_variables=self.unused_variables,
            rate_limits=self.status_of_answer,
            checked_keywords=self.checked_keywords,
        )
        return self.answer

    async def _deltas(self, request: ChatRequest) -> AsyncIterator[Delta]:
        self.opened.set()
        try:
            async with contextlib.aclosing(self.script(request)) as deltas:  # type: ignore[type-var]
                async for delta in deltas:
                    yield delta
        finally:
            self.closed.set()

    @property
    def request(self) -> ChatRequest:
        request = self.calls[-1]["request"]
        assert isinstance(request, ChatRequest)
        return request


class FakeKeys:
    """One key."""

    def __init__(self, account: Account = ACCOUNT) -> None:
        self.account = account

    async def authenticate(self, secret: str, /) -> Account:
        if secret != KEY:
            raise InvalidApiKey("Unknown API key.")
        return self.account


class FakeCatalog:
    """Two models."""

    def models(self) -> Sequence[ModelCard]:
        return [
            ModelCard(
                MODEL,
                1_700_000_000,
                "HuggingFaceTB",
                "SmolLM2 135M",
                8192,
                8192,
                ("tools",),
                ("seed",),
                ("small",),
            ),
            ModelCard("other", 1_700_000_001, "somebody", "Other", 2048, 2048),
        ]


class FakeReadiness:
    """Ready, until told otherwise."""

    def __init__(self) -> None:
        self.why: list[str] = []

    def reasons(self) -> Sequence[str]:
        return self.why


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def keys() -> FakeKeys:
    return FakeKeys()


@pytest.fixture
def readiness() -> FakeReadiness:
    return FakeReadiness()


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(headers_after=5.0)


@pytest.fixture
def application(
    service: FakeService, keys: FakeKeys, readiness: FakeReadiness, settings: ApiSettings
) -> Starlette:
    return build(service, FakeCatalog(), keys, readiness, settings)


@pytest.fixture
async def client(application: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=AUTH) as client:
        yield client


class Stage:
    """An ASGI application that plays whichever application is on: one server serves all tests."""

    def __init__(self) -> None:
        self.on: ASGIApp = Starlette()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.on(scope, receive, send)


@pytest.fixture(scope="session")
def stage() -> Iterator[tuple[Stage, str]]:
    """A real server in a thread of its own, and its base URL."""
    stage = Stage()
    server = uvicorn.Server(uvicorn.Config(stage, port=0, log_level="error", loop="asyncio"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield stage, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def base_url(application: Starlette, stage: tuple[Stage, str]) -> str:
    stage[0].on = application
    return stage[1]


@pytest.fixture
def body() -> dict[str, object]:
    """The least a request needs."""
    return {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
