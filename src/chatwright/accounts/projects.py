"""Projects: groups of keys with limits, budgets and a prefix cache in common."""

from __future__ import annotations

import math
import secrets
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, UnsetType

from chatwright.accounts.account import KeyLimits
from chatwright.accounts.clock import Clock, unix_ms
from chatwright.accounts.store import Store
from chatwright.accounts.tables import projects
from chatwright.accounts.tiers import tier_columns
from chatwright.core.errors import InvalidValue, NotFound

DEFAULT_PROJECT = "default"
"""The project of keys that name none. A migration makes it."""

MAX_LIMIT = 10**10
"""The largest limit: levels of its bucket are exact even where numbers are doubles."""

RETENTION_DAYS = 30
MAX_RETENTION_DAYS = 3650
"""How long prompts are kept where they are, unless said otherwise, and at most."""

_MAX_NAME = 200
_UNLIMITED = KeyLimits()


class Project(msgspec.Struct, frozen=True):
    """A group of keys. Under a `cache_group` they share prefix-cache blocks; `weight` is its share; `service_tiers`
    is for keys without a list of their own. With `store_prompts`, prompts and answers are kept for `retention_days`.
    """

    id: str
    name: str
    cache_group: str | None
    weight: float
    limits: KeyLimits
    created_at: int
    service_tiers: frozenset[str] | None = None
    store_prompts: bool = False
    retention_days: int = RETENTION_DAYS


class ProjectChanges(msgspec.Struct, frozen=True):
    """What to change; members left out stay as they are."""

    name: str | UnsetType = UNSET
    cache_group: str | UnsetType | None = UNSET
    weight: float | UnsetType = UNSET
    limits: KeyLimits | UnsetType = UNSET
    service_tiers: frozenset[str] | UnsetType | None = UNSET
    store_prompts: bool | UnsetType = UNSET
    retention_days: int | UnsetType = UNSET


class Projects:
    """Reads and writes projects. Every method blocks on the database."""

    def __init__(self, store: Store, clock: Clock = unix_ms) -> None:
        self._store = store
        self._clock = clock

    def create(
        self,
        name: str,
        *,
        limits: KeyLimits = _UNLIMITED,
        cache_group: str | None = None,
        weight: float = 1.0,
        service_tiers: frozenset[str] | None = None,
        store_prompts: bool = False,
        retention_days: int = RETENTION_DAYS,
    ) -> Project:
        """Make a project. Raises InvalidValue for a name that is taken or a value out of range."""
        changes = ProjectChanges(
            name, cache_group, weight, limits, service_tiers, store_prompts, retention_days
        )
        project_id = f"proj_{secrets.token_hex(6)}"
        row = {"id": project_id, "created_at": self._clock()} | _columns(changes)

        def insert(connection: sa.Connection) -> Project:
            _require_free_name(connection, name, project_id)
            connection.execute(projects.insert().values(row))
            return _get(connection, project_id)

        return self._store.write(insert)

    def get(self, project: str) -> Project:
        """Find a project by id or name. Raises NotFound."""
        return self._store.read(lambda connection: _get(connection, project))

    def list(self) -> list[Project]:
        """All projects, oldest first."""
        statement = sa.select(projects).order_by(projects.c.created_at, projects.c.id)
        return self._store.read(lambda connection: [_project(row) for row in connection.execute(statement)])

    def update(self, project: str, changes: ProjectChanges) -> Project:
        """Change a project; its keys feel it with their next request. Raises NotFound, InvalidValue."""
        values = _columns(changes)

        def change(connection: sa.Connection) -> Project:
            found = _get(connection, project)
            if "name" in values:
                _require_free_name(connection, values["name"], found.id)
            if values:
                connection.execute(projects.update().where(projects.c.id == found.id).values(values))
            return _get(connection, found.id)

        return self._store.write(change)


def find_project_id(connection: sa.Connection, project: str) -> str:
    """The id of a project given by id or name. Raises NotFound."""
    return _get(connection, project).id


def limit_columns(limits: KeyLimits) -> dict[str, int | None]:
    """Limits as columns. Raises InvalidValue for a negative one."""
    values: dict[str, int | None] = msgspec.structs.asdict(limits)
    for name, value in values.items():
        if value is not None and not 0 <= value <= MAX_LIMIT:
            raise InvalidValue(
                f"{name} must be a whole number from 0 to {MAX_LIMIT}, or null for no limit", param=name
            )
    return values


def checked_name(name: str, param: str = "name") -> str:
    """The name itself. Raises InvalidValue for an empty, long or unprintable one."""
    if not name.isprintable() or not 0 < len(name) <= _MAX_NAME or name != name.strip():
        raise InvalidValue(f"{param} must be 1 to {_MAX_NAME} printable characters", param=param)
    return name


def _columns(changes: ProjectChanges) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if changes.name is not UNSET:
        values["name"] = checked_name(changes.name)
    if changes.cache_group is not UNSET:
        group = changes.cache_group
        values["cache_group"] = None if group is None else checked_name(group, "cache_group")
    if changes.weight is not UNSET:
        if not (math.isfinite(changes.weight) and changes.weight > 0):
            raise InvalidValue("weight must be a number above 0", param="weight")
        values["weight"] = changes.weight
    if changes.limits is not UNSET:
        values |= limit_columns(changes.limits)
    if changes.service_tiers is not UNSET:
        values |= tier_columns(changes.service_tiers)
    if changes.store_prompts is not UNSET:
        values["store_prompts"] = changes.store_prompts
    if changes.retention_days is not UNSET:
        if not 1 <= changes.retention_days <= MAX_RETENTION_DAYS:
            raise InvalidValue(
                f"retention_days must be from 1 to {MAX_RETENTION_DAYS}", param="retention_days"
            )
        values["retention_days"] = changes.retention_days
    return values


def _require_free_name(connection: sa.Connection, name: str, own_id: str) -> None:
    taken = sa.select(projects.c.id).where(projects.c.name == name, projects.c.id != own_id)
    if connection.execute(taken).first() is not None:
        raise InvalidValue(f"there is already a project named {name!r}", param="name")


def _get(connection: sa.Connection, project: str) -> Project:
    by_name = sa.or_(projects.c.id == project, projects.c.name == project)
    # An id wins over another project's name that looks like it.
    statement = sa.select(projects).where(by_name).order_by(projects.c.id != project)
    row = connection.execute(statement).first() if project.isprintable() else None
    if row is None:
        raise NotFound(f"there is no project {project!r}")
    return _project(row)


def _project(row: sa.Row[Any]) -> Project:
    limits = KeyLimits(row.requests_per_minute, row.tokens_per_minute, row.concurrent_requests)
    tiers = None if row.service_tiers is None else frozenset(row.service_tiers)
    return Project(
        id=row.id,
        name=row.name,
        cache_group=row.cache_group,
        weight=row.weight,
        limits=limits,
        created_at=row.created_at,
        service_tiers=tiers,
        store_prompts=row.store_prompts,
        retention_days=row.retention_days,
    )
