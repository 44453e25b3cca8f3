"""The table of `/admin/v1`. Every route asks for the scope "admin" here, in one place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from chatwright.accounts.budgets import Budgets
from chatwright.accounts.keys import Keys
from chatwright.accounts.projects import Projects
from chatwright.accounts.store import Store
from chatwright.api.admin.budgets import BudgetRoutes
from chatwright.api.admin.keys import KeyRoutes
from chatwright.api.admin.projects import ProjectRoutes
from chatwright.api.admin.reload import Reloader, ReloadRoutes
from chatwright.api.admin.requests import RequestRoutes
from chatwright.api.admin.usage import UsageRoutes
from chatwright.api.auth import account_of

PREFIX = "/admin/v1"
SCOPE = "admin"

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class AdminRooms:
    """What the admin API works on."""

    store: Store
    keys: Keys
    reloader: Reloader
    webhooks: bool = False


def admin_routes(rooms: AdminRooms) -> list[BaseRoute]:
    """All of them."""
    store = rooms.store
    keys = KeyRoutes(store, rooms.keys)
    projects = ProjectRoutes(store, Projects(store))
    requests = RequestRoutes(store)
    budgets = BudgetRoutes(store, Budgets(store), webhooks=rooms.webhooks)
    return [
        _route("GET", "/keys", keys.list),
        _route("POST", "/keys", keys.create),
        _route("GET", "/keys/{key_id}", keys.get),
        _route("PATCH", "/keys/{key_id}", keys.change),
        _route("DELETE", "/keys/{key_id}", keys.revoke),
        _route("POST", "/keys/{key_id}/rotate", keys.rotate),
        _route("GET", "/projects", projects.list),
        _route("POST", "/projects", projects.create),
        _route("GET", "/projects/{project}", projects.get),
        _route("PATCH", "/projects/{project}", projects.change),
        _route("DELETE", "/projects/{project}/contents", projects.forget),
        _route("GET", "/budgets", budgets.list),
        _route("PUT", "/budgets", budgets.set),
        _route("DELETE", "/budgets/{budget_id}", budgets.remove),
        _route("GET", "/requests", requests.list),
        _route("GET", "/requests/{entry_id}", requests.get),
        _route("GET", "/requests/{entry_id}/content", requests.content),
        _route("DELETE", "/requests/{entry_id}/content", requests.forget),
        _route("GET", "/usage", UsageRoutes(store).read),
        _route("POST", "/reload", ReloadRoutes(rooms.reloader).reload),
    ]


def _route(method: str, path: str, handler: Handler) -> Route:
    async def checked(request: Request) -> Response:
        account_of(request.scope, SCOPE)
        return await handler(request)

    return Route(PREFIX + path, checked, methods=[method])
