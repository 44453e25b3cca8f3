"""/admin/v1/keys."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from chatwright.accounts.keys import KeyChanges, Keys, KeySettings
from chatwright.accounts.store import Store
from chatwright.api.admin.body import answer, changes_of, query, read
from chatwright.api.admin.objects import (
    ChangeKey,
    CreateKey,
    KeyList,
    RotateKey,
    issued_key_object,
    key_object,
)


class KeyRoutes:
    """Every operation on keys."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    async def create(self, request: Request) -> Response:
        """Make a key; its secret is in this answer only."""
        body = await read(request, CreateKey)
        settings = KeySettings(
            name=body.name,
            scopes=frozenset(body.scopes),
            models=None if body.models is None else frozenset(body.models),
            limits=body.limits,
            cache_group=body.cache_group,
            expires_at=None if body.expires_at is None else body.expires_at * 1000,
            service_tiers=None if body.service_tiers is None else frozenset(body.service_tiers),
        )
        issued = await self._store.run(self._keys.create, settings, body.project)
        return answer(issued_key_object(issued), 201)

    async def list(self, request: Request) -> Response:
        """All keys, or a project's."""
        project = query(request, ["project"]).get("project")
        keys = await self._store.run(self._keys.list, project)
        return answer(KeyList([key_object(key) for key in keys]))

    async def get(self, request: Request) -> Response:
        """One key."""
        return answer(key_object(await self._store.run(self._keys.get, request.path_params["key_id"])))

    async def change(self, request: Request) -> Response:
        """Change what is given; it holds for the key's next request."""
        given = changes_of(await read(request, ChangeKey))
        if given.get("expires_at") is not None:
            given["expires_at"] *= 1000
        key_id = request.path_params["key_id"]
        return answer(key_object(await self._store.run(self._keys.update, key_id, KeyChanges(**given))))

    async def revoke(self, request: Request) -> Response:
        """End a key for good; its bills stay."""
        return answer(key_object(await self._store.run(self._keys.revoke, request.path_params["key_id"])))

    async def rotate(self, request: Request) -> Response:
        """Give a key a new secret."""
        body = await read(request, RotateKey, optional=True)
        key_id = request.path_params["key_id"]
        issued = await self._store.run(self._keys.rotate, key_id, body.overlap_seconds * 1000)
        return answer(issued_key_object(issued))
