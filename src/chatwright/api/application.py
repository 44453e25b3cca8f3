"""The ASGI application: every route, and the middleware around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route
from starlette.types import Lifespan

import chatwright
from chatwright.api.access import AccessLog
from chatwright.api.admin.routes import admin_routes
from chatwright.api.auth import OPEN_PATHS, Authenticator, Gate
from chatwright.api.errors import ErrorBoundary, on_http_exception
from chatwright.api.lingering import Lingering
from chatwright.api.openai.chat import ChatCompletions, ChatService
from chatwright.api.openai.models import Models
from chatwright.api.openapi import OpenApi
from chatwright.api.operations import Operations
from chatwright.api.ops import metrics
from chatwright.api.ops.health import Readiness, Ready, health
from chatwright.api.rate_limits import RateLimitHeaders
from chatwright.api.request_id import RequestIdentity
from chatwright.api.settings import ApiSettings
from chatwright.api.traffic import Door
from chatwright.service.catalog_view import Catalog


def build(
    chat: ChatService,
    catalog: Catalog,
    authenticator: Authenticator,
    readiness: Readiness,
    settings: ApiSettings | None = None,
    *,
    lifespan: Lifespan[Any] | None = None,
    operations: Operations | None = None,
    more_routes: Sequence[BaseRoute] = (),
    open_paths: frozenset[str] = frozenset(),
) -> Starlette:
    """The application, with what `operations` has for operators. `more_routes` of other rooms need a key, unless
    their path is in `open_paths`.
    """
    operations = operations or Operations()
    routes = [*_routes(chat, catalog, readiness, settings or ApiSettings()), *more_routes]
    routes += _operators_routes(operations)
    open_paths |= OPEN_PATHS | ({metrics.PATH} if operations.metrics_open else frozenset())
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(RequestIdentity),
            Middleware(AccessLog, sinks=operations.sinks),
            Middleware(RateLimitHeaders, limits=chat.limits),
            Middleware(Lingering),
            Middleware(ErrorBoundary),
            Middleware(Door, traffic=operations.traffic, open_paths=OPEN_PATHS),
            Middleware(Gate, routes=routes, authenticator=authenticator, open_paths=open_paths),
        ],
        exception_handlers={HTTPException: on_http_exception},
        lifespan=lifespan,
    )


def _routes(
    chat: ChatService, catalog: Catalog, readiness: Readiness, settings: ApiSettings
) -> list[BaseRoute]:
    models = Models(catalog)
    return [
        Route("/v1/chat/completions", ChatCompletions(chat, settings), methods=["POST"]),
        Route("/v1/models", models.list, methods=["GET"]),
        Route("/v1/models/{slug:path}", models.retrieve, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
        Route("/livez", health, methods=["GET"]),
        Route("/readyz", Ready(readiness).readyz, methods=["GET"]),
    ]


def _operators_routes(operations: Operations) -> list[BaseRoute]:
    admin, scraped = operations.admin, operations.scraped
    document = OpenApi(chatwright.__version__, admin=admin is not None, metrics=scraped is not None)
    routes: list[BaseRoute] = [Route("/openapi.json", document.get, methods=["GET"])]
    if scraped is not None:
        endpoint = metrics.Metrics(scraped, open_to_all=operations.metrics_open)
        routes.append(Route(metrics.PATH, endpoint.get, methods=["GET"]))
    return routes if admin is None else routes + admin_routes(admin)
