"""Brings a database to this version's tables. Alembic is imported only where a migration is due."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from chatwright.accounts.store import Store
from chatwright.core.errors import InternalError

HEAD = "0005"
"""The newest revision in `migrations/versions/`."""


def migrate(store: Store) -> bool:
    """Upgrade to `HEAD`; True if anything was due. Safe to call from many processes at once.

    Raises InternalError where a newer version of the program has made the database.
    """
    if store.read(_revision) == HEAD:
        return False
    return store.write(_upgrade)


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _upgrade(connection: sa.Connection) -> bool:
    current = _revision(connection)  # another process may have been here while this one waited for the lock
    if current == HEAD:
        return False
    if current is not None and current > HEAD:
        raise InternalError(
            f"the database is at revision {current}, this version knows up to {HEAD}: upgrade Chatwright"
        )
    from alembic import command  # noqa: PLC0415  # 0.2 s that most starts don't need
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return True
