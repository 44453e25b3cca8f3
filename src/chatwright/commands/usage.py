"""`chatwright usage`: the ledger, summed up."""

from __future__ import annotations

import json
from typing import Annotated, Any, cast, get_args

import typer
from msgspec import structs
from rich.table import Table

from chatwright.accounts.clock import unix_ms
from chatwright.accounts.prices import format_amount
from chatwright.accounts.usage import UsageFilter, UsageGroup, UsageRow, read_usage, usage_csv
from chatwright.commands.options import ConfigOption, HomeOption, JsonOption, moment_ms, opened
from chatwright.commands.tables import print_table
from chatwright.config import ConfigError


def usage(
    by: Annotated[str, typer.Option(help="key, project, model, day, user or tier.")] = "key",
    since: Annotated[str | None, typer.Option(help="First date or time (UTC), or 7d back.")] = None,
    until: Annotated[str | None, typer.Option(help="Date or time (UTC) at which it ends.")] = None,
    key: Annotated[str | None, typer.Option(help="Only this key's, by id.")] = None,
    project: Annotated[str | None, typer.Option(help="Only this project's, by id.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model's, by slug.")] = None,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    tier: Annotated[str | None, typer.Option(help="Only of this service tier.")] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: JsonOption = False,
) -> None:
    """What was used, by the ledger. Requests that still run aren't in it."""
    if by not in get_args(UsageGroup):
        raise ConfigError(f"--by = {by!r}: write one of {', '.join(get_args(UsageGroup))}")
    group = cast(UsageGroup, by)
    now = unix_ms()
    only = UsageFilter(
        since=None if since is None else moment_ms(since, "--since", now, past=True),
        until=None if until is None else moment_ms(until, "--until", now, past=True),
        key_id=key,
        project_id=project,
        model=model,
        user=user,
        service_tier=tier,
    )
    with opened(config, home) as (store, _):
        rows = read_usage(store, group, only)
    if as_json:
        print(json.dumps([_plain(group, row) for row in rows]))
    elif as_csv:
        print(usage_csv(group, rows), end="")
    else:
        _show(group, rows)


def _plain(by: UsageGroup, row: UsageRow) -> dict[str, Any]:
    values = structs.asdict(row) | {"cost": format_amount(row.cost)}
    return {by: values.pop("group"), **values}


def _show(by: UsageGroup, rows: list[UsageRow]) -> None:
    columns = (by, "requests", "input", "cached", "output", "reasoning", "cost", "aborted", "failed", "lost")
    table = Table(*columns, box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        numbers = (row.requests, row.input_tokens, row.cached_tokens, row.output_tokens, row.reasoning_tokens)
        endings = (row.aborted, row.failed, row.lost)
        table.add_row(row.group, *map(str, numbers), format_amount(row.cost), *map(str, endings))
    print_table(table)
