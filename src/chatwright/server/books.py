"""What the accounts get from the configuration: where limits are counted, prices and limits by slug, webhooks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx

from chatwright.accounts.account import KeyLimits
from chatwright.accounts.buckets import Buckets
from chatwright.accounts.keys import Keys
from chatwright.accounts.memory_buckets import MemoryBuckets
from chatwright.accounts.prices import FREE, Price, format_amount
from chatwright.accounts.projects import Projects
from chatwright.accounts.redis_buckets import RedisBuckets
from chatwright.accounts.store import Store
from chatwright.accounts.unshared_buckets import UnsharedBuckets
from chatwright.accounts.webhooks import WebhookSender
from chatwright.config import ConfigError, Settings
from chatwright.model_config import ModelSettings
from chatwright.service.catalog import Catalog
from chatwright.service.catalog_view import Pricing

WEBHOOK_SECONDS = 10.0


def buckets(settings: Settings) -> Buckets:
    """Levels in Redis where one is set, else in this process if it is alone. Raises ConfigError for a bad URL."""
    if settings.redis_url is None:
        return MemoryBuckets() if settings.workers == 1 else UnsharedBuckets()
    try:
        return RedisBuckets.connect(settings.redis_url)
    except ValueError as error:
        raise ConfigError(f"redis_url: {error}") from None


def refuse_unshared_limits(store: Store, settings: Settings) -> None:
    """Raises ConfigError where keys or projects have limits that these processes couldn't keep together."""
    if settings.workers == 1 or settings.redis_url is not None:
        return
    keys = [key.settings.limits for key in Keys(store, b"").list() if key.revoked_at is None]
    if any(
        limits != KeyLimits() for limits in [*keys, *(project.limits for project in Projects(store).list())]
    ):
        raise ConfigError(
            "workers > 1, and there are keys or projects with limits: set redis_url, where processes can keep them together."
        )


def pricing(price: Price) -> Pricing | None:
    """As clients are shown it; None where the model is free."""
    if price == FREE:
        return None
    return Pricing(*(format_amount(one) for one in (price.input, price.output, price.cached_input)))


def prices(catalog: Catalog, settings: Settings) -> dict[str, Price]:
    """By slug."""
    return {slug: one.price.price() for slug, one in _by_slug(catalog, settings)}


def model_limits(catalog: Catalog, settings: Settings) -> dict[str, KeyLimits]:
    """By slug."""
    return {slug: one.limits.limits() for slug, one in _by_slug(catalog, settings)}


def _by_slug(catalog: Catalog, settings: Settings) -> Iterator[tuple[str, ModelSettings]]:
    cards = catalog.models()
    if len(cards) < len(settings.models):
        raise ConfigError("models: a model is configured twice; give one entry more aliases instead")
    return zip((card.id for card in cards), settings.models, strict=True)


@asynccontextmanager
async def sending_webhooks(store: Store, settings: Settings) -> AsyncIterator[None]:
    """Deliver the events of budgets meanwhile, where there is a secret to sign them with."""
    if settings.webhook_secret is None:
        yield
        return
    secret = settings.webhook_secret.get_secret_value().encode()
    async with httpx.AsyncClient(timeout=WEBHOOK_SECONDS) as client:
        sending = asyncio.create_task(WebhookSender(store, client, secret).run())
        try:
            yield
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
