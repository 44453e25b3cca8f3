"""`chatwright requests`: the ledger row by row."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from msgspec import structs
from rich.console import Console
from rich.table import Table

from chatwright.accounts.clock import unix_ms
from chatwright.accounts.prices import format_amount
from chatwright.accounts.requests import RequestFilter, RequestRow, list_requests
from chatwright.commands.options import (
    ConfigOption,
    HomeOption,
    JsonOption,
    moment_ms,
    opened,
    shown_time,
)

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
    Console().print(table, markup=False)


def plain(row: RequestRow) -> dict[str, Any]:
    """A row as JSON has it: times in Unix seconds, but for durations."""
    closed = None if row.closed_at is None else row.closed_at // 1000
    changed = {"cost": format_amount(row.cost), "opened_at": row.opened_at // 1000, "closed_at": closed}
    return structs.asdict(row) | changed
