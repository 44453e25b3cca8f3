"""/admin/v1/usage."""

from __future__ import annotations

from typing import cast, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from chatwright.accounts.prices import format_amount
from chatwright.accounts.store import Store
from chatwright.accounts.usage import UsageFilter, UsageGroup, UsageRow, read_usage, usage_csv
from chatwright.api.admin.body import answer, moment, query
from chatwright.api.admin.objects import UsageGroupObject, UsageList
from chatwright.core.errors import InvalidValue

PARAMETERS = ("by", "since", "until", "key_id", "project_id", "model", "user", "service_tier", "format")


class UsageRoutes:
    """Sums over the ledger."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, request: Request) -> Response:
        """Requests that still run aren't in it. `format=csv` gives CSV."""
        given = query(request, PARAMETERS)
        by = given.get("by", "key")
        if by not in get_args(UsageGroup):
            raise InvalidValue(f"by must be one of {', '.join(get_args(UsageGroup))}.", param="by")
        group = cast(UsageGroup, by)
        form = given.get("format", "json")
        if form not in ("json", "csv"):
            raise InvalidValue("format must be json or csv.", param="format")
        only = UsageFilter(
            since=moment(given, "since"),
            until=moment(given, "until"),
            key_id=given.get("key_id"),
            project_id=given.get("project_id"),
            model=given.get("model"),
            user=given.get("user"),
            service_tier=given.get("service_tier"),
        )
        rows = await self._store.run(read_usage, self._store, group, only)
        if form == "csv":
            return Response(usage_csv(group, rows), media_type="text/csv")
        return answer(UsageList(group, [_object(row) for row in rows]))


def _object(row: UsageRow) -> UsageGroupObject:
    return UsageGroupObject(**msgspec.structs.asdict(row) | {"cost": format_amount(row.cost)})
