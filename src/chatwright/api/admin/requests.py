"""/admin/v1/requests: the ledger row by row."""

from __future__ import annotations

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from chatwright.accounts.contents import Contents, StoredContent
from chatwright.accounts.prices import format_amount
from chatwright.accounts.requests import RequestFilter, RequestRow, find_request, list_requests
from chatwright.accounts.store import Store
from chatwright.api.admin.body import answer, moment, query
from chatwright.api.admin.objects import Deleted
from chatwright.core.errors import InvalidValue

PARAMETERS = (
    *("since", "until", "before", "limit"),
    *("key_id", "project_id", "model", "user", "request_id"),
)
DEFAULT_LIMIT = 100


class RequestObject(msgspec.Struct, frozen=True):
    """One request. `id` is the ledger's, `request_id` what its client was told; times are Unix seconds or milliseconds as
    their names say, `cost` a decimal. `status` is "open" while it runs; `stored` tells that it has a content.
    """

    id: str
    request_id: str
    status: str
    key_id: str
    project_id: str
    model: str
    user: str | None
    metadata: dict[str, str]
    service_tier: str
    opened_at: int
    closed_at: int | None
    ttft_ms: int | None
    duration_ms: int | None
    finish_reason: str | None
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    accepted_draft_tokens: int
    cost: str
    stored: bool
    object: Literal["request"] = "request"


class RequestList(msgspec.Struct, frozen=True):
    """Requests, newest first. `next_before` is the `before` of the next page, null on the last one."""

    data: list[RequestObject]
    next_before: str | None
    object: Literal["list"] = "list"


class CallObject(msgspec.Struct, frozen=True):
    """A tool call of the answer; `arguments` is JSON text as it was generated."""

    name: str
    arguments: str


class ContentObject(msgspec.Struct, frozen=True):
    """What is kept of a request: the prompt as the model read it, the answer as far as it came. Times are Unix seconds."""

    id: str
    prompt: str
    answer: str
    reasoning: str
    tool_calls: list[CallObject]
    truncated: bool
    created_at: int
    expires_at: int
    object: Literal["request.content"] = "request.content"


class RequestRoutes:
    """Reads single rows, and what is kept beside them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._contents = Contents(store)

    async def list(self, request: Request) -> Response:
        """A page of rows, those that still run among them."""
        given = query(request, PARAMETERS)
        limit = _limit(given.pop("limit", str(DEFAULT_LIMIT)))
        only = RequestFilter(
            since=moment(given, "since"),
            until=moment(given, "until"),
            before=given.get("before"),
            key_id=given.get("key_id"),
            project_id=given.get("project_id"),
            model=given.get("model"),
            user=given.get("user"),
            request_id=given.get("request_id"),
        )
        rows = await self._store.run(list_requests, self._store, only, limit)
        last = rows[-1].id if len(rows) == limit else None
        return answer(RequestList([request_object(row) for row in rows], last))

    async def get(self, request: Request) -> Response:
        """One row."""
        row = await self._store.run(find_request, self._store, request.path_params["entry_id"])
        return answer(request_object(row))

    async def content(self, request: Request) -> Response:
        """Prompt and answer, of projects that want them kept."""
        entry_id = request.path_params["entry_id"]
        return answer(content_object(entry_id, await self._store.run(self._contents.get, entry_id)))

    async def forget(self, request: Request) -> Response:
        """Delete prompt and answer; the row stays."""
        entry_id = request.path_params["entry_id"]
        await self._store.run(self._contents.forget, entry_id)
        return answer(Deleted(entry_id))


def content_object(entry_id: str, stored: StoredContent) -> ContentObject:
    """What is kept as the wire has it."""
    kept = stored.content
    return ContentObject(
        id=entry_id,
        prompt=kept.prompt,
        answer=kept.answer,
        reasoning=kept.reasoning,
        tool_calls=[CallObject(call.name, call.arguments) for call in kept.tool_calls],
        truncated=kept.truncated,
        created_at=stored.created_at // 1000,
        expires_at=stored.expires_at // 1000,
    )


def request_object(row: RequestRow) -> RequestObject:
    """A row as the wire has it."""
    closed = None if row.closed_at is None else row.closed_at // 1000
    changed = {"cost": format_amount(row.cost), "opened_at": row.opened_at // 1000, "closed_at": closed}
    return RequestObject(**msgspec.structs.asdict(row) | changed)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 6):
        raise InvalidValue("limit must be a whole number.", param="limit")
    return int(text)
