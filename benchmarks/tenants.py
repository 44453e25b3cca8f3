"""Projects with keys for the benchmarks, in a database of their own."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.home import HOME, WORK
from chatwright.accounts.keys import Keys, KeySettings
from chatwright.accounts.projects import Projects
from chatwright.config import Settings
from chatwright.server.app import open_store

DATABASE = WORK / "tenants.db"
URL = f"sqlite:///{DATABASE}"


def make(weights: Mapping[str, float]) -> dict[str, str]:
    """A new database with a project of each weight; keys by the project's name."""
    for path in DATABASE.parent.glob(f"{DATABASE.name}*"):
        path.unlink()
    store, pepper = open_store(Settings(home=HOME, database_url=URL))
    projects, keys = Projects(store), Keys(store, pepper)
    made = {}
    for name, weight in weights.items():
        project = projects.create(name, weight=weight)
        made[name] = keys.create(KeySettings(name), project.id).secret
    store.close()
    return made
