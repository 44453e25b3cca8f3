"""`chatwright projects`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from msgspec import UNSET, structs
from rich.table import Table

from chatwright.accounts.contents import Contents
from chatwright.accounts.projects import RETENTION_DAYS, Project, ProjectChanges, Projects
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
    limits_of,
    names,
    opened,
)
from chatwright.commands.tables import print_table

app = typer.Typer(help="Projects: keys that share limits, budgets and a fair share.", no_args_is_help=True)

WeightOption = Annotated[float | None, typer.Option(help="Its share of a busy server; default: 1.")]
StoreOption = Annotated[
    bool | None,
    typer.Option("--store-prompts/--no-store-prompts", help="Keep prompts and answers; default: no."),
]
RetentionOption = Annotated[
    int | None, typer.Option(help=f"Days for which they are kept; default: {RETENTION_DAYS}.")
]


@app.command()
def create(
    name: Annotated[str, typer.Option(help="Its name.")],
    rpm: RequestsOption = None,
    tpm: TokensOption = None,
    concurrency: ConcurrencyOption = None,
    budget: BudgetOption = None,
    webhook: WebhookOption = None,
    weight: WeightOption = None,
    tiers: TiersOption = None,
    cache_group: GroupOption = None,
    store_prompts: StoreOption = None,
    retention_days: RetentionOption = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a project; its limits and budgets hold for all its keys together."""
    wanted = wanted_budgets(budget, webhook, config, home)
    with opened(config, home) as (store, _):
        project = Projects(store).create(
            name,
            limits=limits_of(rpm, tpm, concurrency),
            cache_group=cache_group,
            weight=1.0 if weight is None else weight,
            service_tiers=names(tiers),
            store_prompts=bool(store_prompts),
            retention_days=RETENTION_DAYS if retention_days is None else retention_days,
        )
        set_budgets(store, "project", project.id, wanted)
    print(json.dumps(_plain(project)) if as_json else project.id)


@app.command("list")
def list_projects(config: ConfigOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """All projects."""
    with opened(config, home) as (store, _):
        found = Projects(store).list()
    if as_json:
        print(json.dumps([_plain(project) for project in found]))
        return
    table = Table("id", "name", "weight", "rpm", "tpm", "concurrency", "cache group", box=None)
    for project in found:
        numbers = [str(value) if value is not None else "" for value in structs.astuple(project.limits)]
        table.add_row(project.id, project.name, f"{project.weight:g}", *numbers, project.cache_group or "")
    print_table(table)


@app.command()
def update(
    project: Annotated[str, typer.Argument(help="Id or name.")],
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    rpm: RequestsOption = None,
    tpm: TokensOption = None,
    concurrency: ConcurrencyOption = None,
    budget: BudgetOption = None,
    webhook: WebhookOption = None,
    weight: WeightOption = None,
    tiers: TiersOption = None,
    cache_group: GroupOption = None,
    store_prompts: StoreOption = None,
    retention_days: RetentionOption = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what is given; its keys feel it with their next request."""
    wanted = wanted_budgets(budget, webhook, config, home)
    with opened(config, home) as (store, _):
        projects = Projects(store)
        old = projects.get(project)
        limits = limits_of(
            old.limits.requests_per_minute if rpm is None else rpm,
            old.limits.tokens_per_minute if tpm is None else tpm,
            old.limits.concurrent_requests if concurrency is None else concurrency,
        )
        changes = ProjectChanges(
            name=UNSET if name is None else name,
            cache_group=UNSET if cache_group is None else cache_group,
            weight=UNSET if weight is None else weight,
            limits=limits,
            service_tiers=UNSET if tiers is None else names(tiers),
            store_prompts=UNSET if store_prompts is None else store_prompts,
            retention_days=UNSET if retention_days is None else retention_days,
        )
        changed = projects.update(old.id, changes)
        set_budgets(store, "project", changed.id, wanted)
    print(json.dumps(_plain(changed)) if as_json else changed.id)


@app.command("forget-prompts")
def forget_prompts(
    project: Annotated[str, typer.Argument(help="Id or name.")],
    config: ConfigOption = None,
    home: HomeOption = None,
) -> None:
    """Delete all prompts and answers that are kept of a project; prints of how many requests."""
    with opened(config, home) as (store, _):
        print(Contents(store).forget_project(project))


def _plain(project: Project) -> dict[str, Any]:
    tiers = project.service_tiers
    return {
        "id": project.id,
        "name": project.name,
        "weight": project.weight,
        "cache_group": project.cache_group,
        **structs.asdict(project.limits),
        "service_tiers": None if tiers is None else sorted(tiers),
        "store_prompts": project.store_prompts,
        "retention_days": project.retention_days,
        "created_at": project.created_at // 1000,
    }
