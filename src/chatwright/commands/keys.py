"""`chatwright keys`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.table import Table

from chatwright.accounts.clock import unix_ms
from chatwright.accounts.keys import IssuedKey, Key, Keys, KeySettings
from chatwright.accounts.projects import DEFAULT_PROJECT
from chatwright.commands.budgets import set_budgets, wanted_budgets
from chatwright.commands.options import (
    BudgetOption,
    ConcurrencyOption,
    ConfigOption,
    GroupOption,
    HomeOption,
    JsonOption,
    RequestsOption,
    TiersOption,
    TokensOption,
    WebhookOption,
    duration_ms,
    limits_of,
    moment_ms,
    names,
    opened,
    shown_time,
)
from chatwright.commands.tables import print_table

app = typer.Typer(help="API keys.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    project: Annotated[str, typer.Option(help="Id or name of its project.")] = DEFAULT_PROJECT,
    rpm: RequestsOption = None,
    tpm: TokensOption = None,
    concurrency: ConcurrencyOption = None,
    budget: BudgetOption = None,
    webhook: WebhookOption = None,
    models: Annotated[
        str | None, typer.Option(help="Models it may use, with commas; default: every one.")
    ] = None,
    scopes: Annotated[str, typer.Option(help="inference, admin, metrics, with commas.")] = "inference",
    tiers: TiersOption = None,
    cache_group: GroupOption = None,
    expires: Annotated[str | None, typer.Option(help="When it ends: a date, or 30d from now.")] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an API key. It is shown once and stored as a hash."""
    wanted = wanted_budgets(budget, webhook, config, home)
    settings = KeySettings(
        name=name,
        scopes=names(scopes) or frozenset(),
        models=names(models),
        limits=limits_of(rpm, tpm, concurrency),
        cache_group=cache_group,
        expires_at=None if expires is None else moment_ms(expires, "--expires", unix_ms()),
        service_tiers=names(tiers),
    )
    with opened(config, home) as (store, pepper):
        issued = Keys(store, pepper).create(settings, project)
        set_budgets(store, "key", issued.key.id, wanted)
    _show_issued(issued, as_json=as_json)


@app.command("list")
def list_keys(
    project: Annotated[str | None, typer.Option(help="Only those of this project.")] = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """All keys, without their secrets."""
    with opened(config, home) as (store, pepper):
        keys = Keys(store, pepper).list(project)
    if as_json:
        print(json.dumps([_plain(key) for key in keys]))
        return
    table = Table("id", "name", "project", "starts with", "scopes", "expires", "revoked", box=None)
    for key in keys:
        table.add_row(
            key.id,
            key.settings.name,
            key.project_id,
            ", ".join(f"cw-{prefix}" for prefix in key.prefixes),
            ", ".join(sorted(key.settings.scopes)),
            shown_time(key.settings.expires_at),
            shown_time(key.revoked_at),
        )
    print_table(table)


@app.command()
def revoke(key_id: str, config: ConfigOption = None, home: HomeOption = None) -> None:
    """End a key for good, effective at once."""
    with opened(config, home) as (store, pepper):
        print(Keys(store, pepper).revoke(key_id).id)


@app.command()
def rotate(
    key_id: str,
    overlap: Annotated[str, typer.Option(help="How long the old secret still works, such as 24h.")] = "0s",
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a key a new secret; id, limits and bills stay."""
    with opened(config, home) as (store, pepper):
        issued = Keys(store, pepper).rotate(key_id, duration_ms(overlap, "--overlap"))
    _show_issued(issued, as_json=as_json)


def _show_issued(issued: IssuedKey, *, as_json: bool) -> None:
    if as_json:
        key = issued.key
        shown = {"id": key.id, "key": issued.secret, "name": key.settings.name, "project": key.project_id}
        print(json.dumps(shown))
    else:
        print(issued.secret)


def _plain(key: Key) -> dict[str, Any]:
    settings = key.settings
    limits = settings.limits
    return {
        "id": key.id,
        "name": settings.name,
        "project": key.project_id,
        "starts_with": [f"cw-{prefix}" for prefix in key.prefixes],
        "scopes": sorted(settings.scopes),
        "models": None if settings.models is None else sorted(settings.models),
        "requests_per_minute": limits.requests_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
        "concurrent_requests": limits.concurrent_requests,
        "service_tiers": None if settings.service_tiers is None else sorted(settings.service_tiers),
        "created_at": key.created_at // 1000,
        "expires_at": None if settings.expires_at is None else settings.expires_at // 1000,
        "revoked_at": None if key.revoked_at is None else key.revoked_at // 1000,
    }
