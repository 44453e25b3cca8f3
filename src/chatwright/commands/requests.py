"""`chatwright requests`: the ledger row by row."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from msgspec import structs
from rich.table import Table

from chatwright.accounts.clock import unix_ms
from chatwright.accounts.contents import Contents
from chatwright.accounts.prices import format_amount
from chatwright.accounts.requests import RequestFilter, RequestRow, find_request, list_requests
from chatwright.commands.options import (
    ConfigOption,
    HomeOption,
    JsonOption,
    moment_ms,
    opened,
    shown_time,
)
from chatwright.commands.tables import print_table
from chatwright.core.errors import NotFound

app = typer.Typer(help="Single requests, by the ledger.", no_args_is_help=True)


@app.command("list")
def list_rows(
    since: Annotated[str | None, typer.Option(help="First date or time (UTC), or 7d back.")] = None,
    until: Annotated[str | None, typer.Option(help="Date or time (UTC) at which it ends.")] = None,
    key: Annotated[str | None, typer.Option(help="Only this key's, by id.")] = None,
    project: Annotated[str | None, typer.Option(help="Only this project's, by id.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model's, by slug.")] = None,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    request_id: Annotated[str | None, typer.Option(help="Only with this x-request-id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 20,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """The newest requests, those that still run among them."""
    now = unix_ms()
    only = RequestFilter(
        since=None if since is None else moment_ms(since, "--since", now, past=True),
        until=None if until is None else moment_ms(until, "--until", now, past=True),
        key_id=key,
        project_id=project,
        model=model,
        user=user,
        request_id=request_id,
    )
    with opened(config, home) as (store, _):
        rows = list_requests(store, only, limit)
    if as_json:
        print(json.dumps([plain(row) for row in rows]))
        return
    table = Table("id", "at", "key", "model", "ended", "input", "output", "cost", "metadata", box=None)
    for row in rows:
        labels = ", ".join(f"{name}={value}" for name, value in row.metadata.items())
        tokens = (str(row.input_tokens), str(row.output_tokens), format_amount(row.cost))
        at = shown_time(row.opened_at)
        table.add_row(row.id, at, row.key_id, row.model, row.status, *tokens, ascii(labels)[1:-1])
    print_table(table)


@app.command()
def show(
    entry_id: Annotated[str, typer.Argument(help="The id that the list shows.")],
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """One request as JSON, with prompt and answer where its project wants them kept."""
    with opened(config, home) as (store, _):
        shown = plain(find_request(store, entry_id))
        try:
            stored = Contents(store).get(entry_id)
        except NotFound:
            shown["content"] = None
        else:
            shown["content"] = structs.asdict(stored.content) | {
                "tool_calls": [structs.asdict(call) for call in stored.content.tool_calls],
                "expires_at": stored.expires_at // 1000,
            }
    print(json.dumps(shown, indent=1))


@app.command()
def forget(entry_id: str, config: ConfigOption = None, home: HomeOption = None) -> None:
    """Delete the prompt and answer that are kept of a request; its bill stays."""
    with opened(config, home) as (store, _):
        Contents(store).forget(entry_id)
    print(entry_id)


def plain(row: RequestRow) -> dict[str, Any]:
    """A row as JSON has it: times in Unix seconds, but for durations."""
    closed = None if row.closed_at is None else row.closed_at // 1000
    changed = {"cost": format_amount(row.cost), "opened_at": row.opened_at // 1000, "closed_at": closed}
    return structs.asdict(row) | changed
