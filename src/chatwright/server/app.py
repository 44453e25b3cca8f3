"""Puts the rooms together. The only file that knows every one of them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from starlette.applications import Starlette

from chatwright.accounts.admission import Admissions
from chatwright.accounts.authentication import Authenticator
from chatwright.accounts.contents import Contents
from chatwright.accounts.credentials import load_pepper
from chatwright.accounts.keys import Keys, KeySettings
from chatwright.accounts.ledger import Ledger
from chatwright.accounts.limits import RateLimiter
from chatwright.accounts.migrate import migrate
from chatwright.accounts.store import Store
from chatwright.api.admin.reload import Reloader
from chatwright.api.admin.routes import AdminRooms
from chatwright.api.application import build
from chatwright.api.operations import Operations
from chatwright.api.settings import ApiSettings
from chatwright.api.traffic import Traffic
from chatwright.config import Settings
from chatwright.core.errors import InvalidRequest
from chatwright.engines.residency import Residency
from chatwright.model_config import ModelSettings
from chatwright.models.progress import Progress, Silent
from chatwright.rendering.worker import TemplateWorkerPool, WorkerLimits
from chatwright.server.assembly import EngineSource, served_model
from chatwright.server.books import buckets, model_limits, prices, sending_webhooks
from chatwright.server.fleet import Fleet
from chatwright.server.scrape import Scrape
from chatwright.service.catalog import Catalog
from chatwright.service.chat import ChatService
from chatwright.service.handoff import Handoffs
from chatwright.service.model import ServedModel
from chatwright.telemetry.logs import log_request
from chatwright.telemetry.observer import RequestCounter
from chatwright.telemetry.spans import span_sinks

log = logging.getLogger("chatwright")

FIRST_KEY_NAME = "first"


@dataclass
class Server:
    """Everything that lives as long as the process, and how it starts and stops."""

    settings: Settings
    store: Store
    keys: Keys
    authenticator: Authenticator
    fleet: Fleet
    workers: TemplateWorkerPool | None
    ledger: Ledger
    limiter: RateLimiter
    admissions: Admissions
    make: Callable[[Settings, ModelSettings], ServedModel]
    asgi: Starlette = field(init=False)
    scrape: Scrape = field(init=False)
    traffic: Traffic = field(default_factory=Traffic)
    reloading: Reloader | None = None

    @property
    def catalog(self) -> Catalog:
        """The models that are served now."""
        return self.fleet.catalog

    @property
    def loading(self) -> dict[str, str]:
        """Why a model can't be used yet, by slug."""
        return self.fleet.loading

    @property
    def loaded(self) -> asyncio.Event:
        """Set once every model has been loaded or has failed."""
        return self.fleet.loaded

    def reasons(self) -> Sequence[str]:
        """Why requests would not be served, for /readyz."""
        return ["draining", *self.fleet.reasons()] if self.traffic.draining else self.fleet.reasons()

    async def reload(self) -> Sequence[str]:
        """Read the configuration again. Raises InvalidRequest where it can't be used, or where there is none to read."""
        if self.reloading is None:
            raise InvalidRequest("This server was not started from a configuration that can be read again.")
        return await self.reloading.reload()

    async def apply(self, settings: Settings) -> None:
        """Take over settings that may change while serving. Raises what `Fleet.replace` raises; nothing has changed then."""
        authenticator = self.authenticator.prepared(settings.api_keys)
        if settings.models != self.settings.models:
            await self.fleet.replace(settings.models, partial(self.make, settings))
        authenticator()
        self.settings = settings
        self.limiter.set_model_limits(model_limits(self.catalog, settings))
        self.admissions.set_prices(prices(self.catalog, settings))

    async def drain(self) -> None:
        """Let nothing in; wait for what runs, as long as the settings allow, then end it with an error."""
        if not await self.traffic.drain(self.settings.shutdown_seconds):
            log.warning("%d requests are ended: the server shuts down", self.traffic.active)
            await self.fleet.close_engines()

    @asynccontextmanager
    async def running(self, app: Starlette) -> AsyncIterator[None]:
        """The lifespan: engines load while the port already answers /livez."""
        if self.workers is not None:
            await self.workers.start()
        await asyncio.to_thread(self.ledger.start)
        works = (self.fleet.start(), self.scrape.keep_writing(), Contents(self.store).keep_purging())
        background = [asyncio.create_task(work) for work in works]
        try:
            async with sending_webhooks(self.store, self.settings):
                yield
        finally:
            for task in background:
                task.cancel()
            await self.fleet.close()
            if self.workers is not None:
                await self.workers.close()
            await self.limiter.close()
            self.scrape.write()
            await asyncio.to_thread(self.ledger.close)
            self.store.close()


def first_key(keys: Keys) -> str | None:
    """Make a key where the database has none; returns its text, which is never shown again."""
    return keys.create(KeySettings(FIRST_KEY_NAME)).secret if not keys.list() else None


def open_store(settings: Settings, pepper: bytes | None = None) -> tuple[Store, bytes]:
    """The database, migrated, and the pepper of its key hashes: this one, else that of the file in `home`."""
    settings.home.mkdir(parents=True, exist_ok=True)
    store = Store(settings.database_url or f"sqlite:///{settings.home / 'chatwright.db'}")
    migrate(store)
    return store, pepper or load_pepper(settings.home / "pepper")


def assemble(
    settings: Settings,
    progress: Progress | None = None,
    shared: EngineSource | None = None,
    pepper: bytes | None = None,
) -> Server:
    """Install what is missing, then wire everything; nothing runs yet. Raises ModelError, ValueError, EngineFailed.

    `shared` is for one of several API processes, which find their engines elsewhere, and each other's counts in a folder.
    `pepper` is that of the database's keys where another machine's file holds it.
    """
    store, pepper = open_store(settings, pepper)
    workers = TemplateWorkerPool(WorkerLimits()) if settings.request_templates else None
    residency = Residency(int(settings.memory_gib * (1 << 30))) if settings.memory_gib else None

    def make(current: Settings, one: ModelSettings) -> ServedModel:
        return served_model(one, current, workers, progress or Silent(), residency, shared)

    fleet = Fleet(settings.models, partial(make, settings))
    ledger, limiter = Ledger(store), RateLimiter(buckets(settings), model_limits(fleet.catalog, settings))
    admissions = Admissions(store, limiter, ledger, prices(fleet.catalog, settings))
    authenticator = Authenticator(store, pepper, settings.api_keys)
    keys = Keys(store, pepper)
    server = Server(settings, store, keys, authenticator, fleet, workers, ledger, limiter, admissions, make)
    counter = RequestCounter()
    server.scrape = Scrape(fleet.catalog, counter, shared.folder if shared else None, f"api-{os.getpid()}")
    server.asgi = build(
        ChatService(fleet.catalog, admissions, Handoffs(pepper), counter),
        fleet.catalog,
        authenticator,
        server,
        ApiSettings(
            body_bytes=int(settings.max_body_mib * (1 << 20)),
            heartbeat_every=settings.heartbeat_seconds,
            deadline=settings.queue_timeout_seconds,
        ),
        lifespan=server.running,
        operations=_operations(server),
    )
    return server


def _operations(server: Server) -> Operations:
    settings = server.settings
    admin = AdminRooms(server.store, server.keys, server, webhooks=settings.webhook_secret is not None)
    return Operations(
        admin=admin,
        scraped=server.scrape,
        metrics_open=settings.metrics_open,
        sinks=[log_request, server.scrape.count_response, *span_sinks(settings.otlp_endpoint)],
        traffic=server.traffic,
    )
