"""What the admin API sends and takes. Times are Unix seconds, money is a decimal in a string."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from chatwright.accounts.account import KeyLimits
from chatwright.accounts.budgets import BudgetStatus
from chatwright.accounts.keys import IssuedKey, Key
from chatwright.accounts.prices import format_amount
from chatwright.accounts.projects import DEFAULT_PROJECT, RETENTION_DAYS, Project
from chatwright.accounts.spending import Budget, BudgetPeriod
from chatwright.accounts.usage import UsageGroup

UnixSeconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799, description="Up to the year 9999.")]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=366 * 86_400)]


class Limits(KeyLimits, frozen=True, forbid_unknown_fields=True):
    """Null is no limit; zero refuses everything."""


class CreateKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to make. `models` null allows every model, `service_tiers` null those of its project."""

    name: str
    project: str = DEFAULT_PROJECT
    scopes: tuple[str, ...] = ("inference",)
    models: list[str] | None = None
    limits: Limits = Limits()
    cache_group: str | None = None
    service_tiers: list[str] | None = None
    expires_at: UnixSeconds | None = None


class ChangeKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of a key; `limits` are replaced as a whole."""

    name: str | UnsetType = UNSET
    scopes: list[str] | UnsetType = UNSET
    models: list[str] | UnsetType | None = UNSET
    limits: Limits | UnsetType = UNSET
    cache_group: str | UnsetType | None = UNSET
    service_tiers: list[str] | UnsetType | None = UNSET
    expires_at: UnixSeconds | UnsetType | None = UNSET


class RotateKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the old secret works beside the new one."""

    overlap_seconds: Seconds = 0


class CreateProject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A project to make. `weight` is its share of a busy server; with `store_prompts`, prompts and answers are kept."""

    name: str
    limits: Limits = Limits()
    cache_group: str | None = None
    weight: float = 1.0
    service_tiers: list[str] | None = None
    store_prompts: bool = False
    retention_days: int = RETENTION_DAYS


class ChangeProject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of a project; `limits` are replaced as a whole."""

    name: str | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    cache_group: str | UnsetType | None = UNSET
    weight: float | UnsetType = UNSET
    service_tiers: list[str] | UnsetType | None = UNSET
    store_prompts: bool | UnsetType = UNSET
    retention_days: int | UnsetType = UNSET


class SetBudget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A budget to make or replace, of a key or of a project."""

    period: BudgetPeriod
    amount: str
    key_id: str | None = None
    project_id: str | None = None
    enforced: bool = True
    webhook_url: str | None = None


class KeyObject(msgspec.Struct, frozen=True):
    """A key. `prefixes` are the beginnings of its secrets that work."""

    id: str
    project_id: str
    name: str
    prefixes: list[str]
    scopes: list[str]
    models: list[str] | None
    limits: KeyLimits
    cache_group: str | None
    service_tiers: list[str] | None
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    object: Literal["api_key"] = "api_key"


class IssuedKeyObject(KeyObject, frozen=True, kw_only=True):
    """A key with its newest secret, which is never shown again."""

    key: str


class KeyList(msgspec.Struct, frozen=True):
    """Keys, oldest first."""

    data: list[KeyObject]
    object: Literal["list"] = "list"


class ProjectObject(msgspec.Struct, frozen=True):
    """A project."""

    id: str
    name: str
    limits: KeyLimits
    cache_group: str | None
    weight: float
    service_tiers: list[str] | None
    store_prompts: bool
    retention_days: int
    created_at: int
    object: Literal["project"] = "project"


class ProjectList(msgspec.Struct, frozen=True):
    """Projects, oldest first."""

    data: list[ProjectObject]
    object: Literal["list"] = "list"


class BudgetObject(msgspec.Struct, frozen=True):
    """A budget."""

    id: str
    subject_kind: Literal["key", "project"]
    subject_id: str
    period: BudgetPeriod
    amount: str
    enforced: bool
    webhook_url: str | None
    object: Literal["budget"] = "budget"


class BudgetStatusObject(BudgetObject, frozen=True, kw_only=True):
    """A budget and what the period that runs has cost."""

    spent: str
    period_start: int
    period_end: int


class BudgetList(msgspec.Struct, frozen=True):
    """Budgets, oldest first."""

    data: list[BudgetStatusObject]
    object: Literal["list"] = "list"


class Deleted(msgspec.Struct, frozen=True):
    """It is gone."""

    id: str
    deleted: Literal[True] = True


class ForgottenContents(msgspec.Struct, frozen=True):
    """Of how many requests prompt and answer are gone."""

    requests: int
    deleted: Literal[True] = True


class UsageGroupObject(msgspec.Struct, frozen=True):
    """The closed requests of a group; the last six count them by their ending."""

    group: str
    requests: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    accepted_draft_tokens: int
    cost: str
    finished: int
    stopped: int
    aborted: int
    failed: int
    refused: int
    lost: int


class UsageList(msgspec.Struct, frozen=True):
    """Sums over the ledger, in the order of their groups."""

    by: UsageGroup
    data: list[UsageGroupObject]
    object: Literal["list"] = "list"


class ReloadReport(msgspec.Struct, frozen=True):
    """What a reload has changed, a line each; secrets are named, not shown."""

    changes: list[str]
    object: Literal["reload"] = "reload"


def key_object(key: Key) -> KeyObject:
    """A key as the wire has it."""
    settings = key.settings
    return KeyObject(
        id=key.id,
        project_id=key.project_id,
        name=settings.name,
        prefixes=[f"cw-{prefix}" for prefix in key.prefixes],
        scopes=sorted(settings.scopes),
        models=_sorted(settings.models),
        limits=settings.limits,
        cache_group=settings.cache_group,
        service_tiers=_sorted(settings.service_tiers),
        created_at=key.created_at // 1000,
        expires_at=_seconds(settings.expires_at),
        revoked_at=_seconds(key.revoked_at),
    )


def issued_key_object(issued: IssuedKey) -> IssuedKeyObject:
    """With its secret."""
    return IssuedKeyObject(**msgspec.structs.asdict(key_object(issued.key)), key=issued.secret)


def project_object(project: Project) -> ProjectObject:
    """A project as the wire has it."""
    return ProjectObject(
        id=project.id,
        name=project.name,
        limits=project.limits,
        cache_group=project.cache_group,
        weight=project.weight,
        service_tiers=_sorted(project.service_tiers),
        store_prompts=project.store_prompts,
        retention_days=project.retention_days,
        created_at=project.created_at // 1000,
    )


def budget_object(budget: Budget) -> BudgetObject:
    """A budget as the wire has it."""
    return BudgetObject(**msgspec.structs.asdict(budget) | {"amount": format_amount(budget.amount)})


def budget_status_object(status: BudgetStatus) -> BudgetStatusObject:
    """With what it has spent."""
    return BudgetStatusObject(
        **msgspec.structs.asdict(budget_object(status.budget)),
        spent=format_amount(status.spent),
        period_start=status.period_start // 1000,
        period_end=status.period_end // 1000,
    )


def _sorted(values: frozenset[str] | None) -> list[str] | None:
    return None if values is None else sorted(values)


def _seconds(unix_ms: int | None) -> int | None:
    return None if unix_ms is None else unix_ms // 1000
