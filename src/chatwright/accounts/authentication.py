"""Key text to Account.

There is no cache: a look-up is one indexed read, so a revoked key is refused everywhere at once.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from chatwright.accounts.account import Account, KeyLimits
from chatwright.accounts.clock import Clock, unix_ms
from chatwright.accounts.credentials import digest, prefix_of
from chatwright.accounts.store import Store
from chatwright.accounts.tables import api_keys, budgets, key_secrets, projects
from chatwright.core.errors import InvalidApiKey, Overloaded

ENVIRONMENT_PROJECT = "env"
"""The project that keys from the environment are billed to; it has no row in the store."""

_MAX_KEY_LENGTH = 512
_NO_DIGEST = bytes(32)


class Authenticator:
    """Finds the account of a key: those handed in from the environment first, then the store."""

    def __init__(
        self, store: Store, pepper: bytes, environment_keys: Sequence[str] = (), clock: Clock = unix_ms
    ) -> None:
        """`environment_keys` are any strings; only their digests are kept. They become accounts env-1, env-2,
        ...

        Raises ValueError for an empty or too long one.
        """
        self._store = store
        self._pepper = pepper
        self._clock = clock
        self._environment = self._accounts(environment_keys)

    def prepared(self, environment_keys: Sequence[str]) -> Callable[[], None]:
        """Check other environment keys; what is returned puts them in the place of the old ones. Raises ValueError."""
        accounts = self._accounts(environment_keys)

        def exchange() -> None:
            self._environment = accounts

        return exchange

    def _accounts(self, environment_keys: Sequence[str]) -> list[tuple[bytes, Account]]:
        return [
            (self._digest_of(text), _environment_account(number))
            for number, text in enumerate(environment_keys, 1)
        ]

    def _digest_of(self, text: str) -> bytes:
        if not 0 < len(text) <= _MAX_KEY_LENGTH:
            raise ValueError(f"a key from the environment must have 1 to {_MAX_KEY_LENGTH} characters")
        return digest(self._pepper, text)

    async def authenticate(self, text: str) -> Account:
        """The account of a key. Raises InvalidApiKey, in the same words whatever was wrong."""
        if not 0 < len(text) <= _MAX_KEY_LENGTH:
            raise _refusal()
        offered = digest(self._pepper, text)
        account = self._from_environment(offered)
        if account is not None:
            return msgspec.structs.replace(account, has_budget=await self._watched(account))
        row = await self._store.glance(
            lambda c: c.execute(_BY_PREFIX, {"prefix": prefix_of(text) or ""}).first()
        )
        account = self._proven(row, offered)
        if account is None:
            raise _refusal()
        return account

    async def _watched(self, account: Account) -> bool:
        """Whether an enforced budget watches a key of the environment, or may: nobody knows while the database is away."""
        try:
            return await self._store.glance(lambda connection: _has_budget(connection, account))
        except Overloaded:
            return True

    def _from_environment(self, offered: bytes) -> Account | None:
        found = None
        for known, account in self._environment:  # no early end: the time doesn't tell which one matched
            if hmac.compare_digest(known, offered):
                found = account
        return found

    def _proven(self, row: sa.Row[Any] | None, offered: bytes) -> Account | None:
        # An unknown prefix costs what a wrong secret costs.
        proven = hmac.compare_digest(_NO_DIGEST if row is None else row.digest, offered)
        if row is None or not proven or not self._live(row):
            return None
        return _account(row)

    def _live(self, row: sa.Row[Any]) -> bool:
        now = self._clock()
        unexpired = all(end is None or end > now for end in (row.expires_at, row.secret_expires_at))
        return row.revoked_at is None and unexpired


_HAS_BUDGET = (
    sa.exists()
    .where(budgets.c.enforced)
    .where(
        sa.or_(
            sa.and_(budgets.c.subject_kind == "key", budgets.c.subject_id == api_keys.c.id),
            sa.and_(budgets.c.subject_kind == "project", budgets.c.subject_id == projects.c.id),
        )
    )
    .correlate(api_keys, projects)
)

_BUDGET_OF = sa.select(
    sa.exists()
    .where(budgets.c.enforced)
    .where(
        sa.or_(
            sa.and_(budgets.c.subject_kind == "key", budgets.c.subject_id == sa.bindparam("key_id")),
            sa.and_(budgets.c.subject_kind == "project", budgets.c.subject_id == ENVIRONMENT_PROJECT),
        )
    )
)


def _has_budget(connection: sa.Connection, account: Account) -> bool:
    return bool(connection.execute(_BUDGET_OF, {"key_id": account.key_id}).scalar_one())


_BY_PREFIX = (
    sa.select(
        key_secrets.c.digest,
        key_secrets.c.expires_at.label("secret_expires_at"),
        api_keys,
        projects.c.cache_group.label("project_cache_group"),
        projects.c.weight,
        projects.c.requests_per_minute.label("project_requests"),
        projects.c.tokens_per_minute.label("project_tokens"),
        projects.c.concurrent_requests.label("project_concurrent"),
        projects.c.service_tiers.label("project_tiers"),
        projects.c.store_prompts,
        _HAS_BUDGET.label("has_budget"),
    )
    .join(api_keys, api_keys.c.id == key_secrets.c.key_id)
    .join(projects, projects.c.id == api_keys.c.project_id)
    .where(key_secrets.c.prefix == sa.bindparam("prefix"))
)


def _refusal() -> InvalidApiKey:
    return InvalidApiKey("The API key is not valid. Send a valid one as 'Authorization: Bearer <key>'.")


def _environment_account(number: int) -> Account:
    name = f"env-{number}"
    return Account(name, name, ENVIRONMENT_PROJECT, cache_group=f"key:{name}")


def _account(row: sa.Row[Any]) -> Account:
    return Account(
        key_id=row.id,
        name=row.name,
        project_id=row.project_id,
        cache_group=_cache_group(row),
        scopes=frozenset(row.scopes),
        models=None if row.models is None else frozenset(row.models),
        weight=row.weight,
        limits=KeyLimits(row.requests_per_minute, row.tokens_per_minute, row.concurrent_requests),
        project_limits=KeyLimits(row.project_requests, row.project_tokens, row.project_concurrent),
        service_tiers=_service_tiers(row),
        has_budget=row.has_budget,
        stores_prompts=row.store_prompts,
    )


def _service_tiers(row: sa.Row[Any]) -> frozenset[str] | None:
    tiers = row.service_tiers if row.service_tiers is not None else row.project_tiers
    return None if tiers is None else frozenset(tiers)


def _cache_group(row: sa.Row[Any]) -> str:
    """A key shares its prefix cache with nobody, unless it or its project was put into a group."""
    group = row.cache_group if row.cache_group is not None else row.project_cache_group
    return f"key:{row.id}" if group is None else f"group:{group}"
