"""Reading the configuration again while the server runs, on SIGHUP or by the admin API."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import SecretStr

from chatwright.config import SECRET, ConfigError, Settings
from chatwright.core.errors import ChatwrightError, InvalidRequest
from chatwright.model_config import ModelSettings
from chatwright.models.errors import ModelError
from chatwright.server.app import Server
from chatwright.telemetry.logs import set_level

log = logging.getLogger("chatwright")

LIVE = frozenset({"models", "api_keys", "log_level", "shutdown_seconds"})
"""Settings that change without a restart, besides everything that the database holds."""

_SECRET_NAMES = frozenset(name for (name,) in SECRET)


class Reloading:
    """One reload at a time. `read` reads all sources of settings again."""

    def __init__(self, server: Server, read: Callable[[], Settings]) -> None:
        self._server = server
        self._read = read
        self._lock = asyncio.Lock()

    async def reload(self) -> Sequence[str]:
        """Apply what can be applied and say what has changed. Raises InvalidRequest where the configuration can't be used;
        everything stays as it was then.
        """
        async with self._lock:
            try:
                return await self._reload()
            except (ConfigError, ModelError, ChatwrightError, ValueError, OSError) as error:
                reason = getattr(error, "message", None) or str(error)
                log.error("the configuration was not reloaded, the old one stays: %s", reason)
                raise InvalidRequest(f"The old configuration stays: {reason}") from None

    async def _reload(self) -> Sequence[str]:
        old = self._server.settings
        new = await asyncio.to_thread(self._read)
        changes = differences(old, new)
        await self._server.apply(old.model_copy(update={name: getattr(new, name) for name in LIVE}))
        set_level(new.log_level)
        for change in changes or ["nothing has changed"]:
            log.info("configuration reloaded: %s", change)
        return changes


class ParentReloading:
    """In one of several API processes: check what was written, then have the parent tell everybody."""

    def __init__(self, server: Server, read: Callable[[], Settings]) -> None:
        self._server = server
        self._read = read

    async def reload(self) -> Sequence[str]:
        """What will have changed in a moment. Raises InvalidRequest for settings that can't be read."""
        try:
            new = await asyncio.to_thread(self._read)
        except (ConfigError, OSError) as error:
            raise InvalidRequest(f"The old configuration stays: {error}") from None
        os.kill(os.getppid(), signal.SIGHUP)
        return differences(self._server.settings, new)


def differences(old: Settings, new: Settings) -> list[str]:
    """A line for each change, without secrets."""
    lines = []
    for name in Settings.model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if name == "models":
            lines += _model_differences(before, after)
        else:
            values = "changed" if name in _SECRET_NAMES else f"{_shown(before)} -> {_shown(after)}"
            lines.append(f"{name}: {values}{'' if name in LIVE else ' (needs a restart)'}")
    return lines


def _model_differences(old: Sequence[ModelSettings], new: Sequence[ModelSettings]) -> list[str]:
    before, after = {one.model: one for one in old}, {one.model: one for one in new}
    lines = [f"models: {name} added" for name in after if name not in before]
    lines += [f"models: {name} removed" for name in before if name not in after]
    for name in before.keys() & after.keys():
        for field in ModelSettings.model_fields:
            ours, theirs = getattr(before[name], field), getattr(after[name], field)
            if ours != theirs:
                lines.append(f"models: {name}: {field}: {_shown(ours)} -> {_shown(theirs)}")
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "..."
    return value.model_dump_json() if hasattr(value, "model_dump_json") else str(value)
