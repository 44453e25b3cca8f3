"""Who serves which model on the cluster: replicas write themselves down here, API processes watch."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import msgspec

from chatwright.engines.process.tcp import TcpAddress

LEASE_SECONDS = 10.0
"""How long an entry holds that nobody renews."""


class ServerAddress(msgspec.Struct, frozen=True):
    """Where another engine's server listens, and the key it wants, if any."""

    url: str
    key: str | None

    def __repr__(self) -> str:
        """Without the key."""
        return f"ServerAddress({self.url!r})"


class Place(msgspec.Struct, frozen=True):
    """Where a replica is: how to attach to it, and on which node of the cluster."""

    address: TcpAddress | ServerAddress
    node: str

    @property
    def at(self) -> str:
        """Host and port, or URL."""
        address = self.address
        return address.url if isinstance(address, ServerAddress) else f"{address.host}:{address.port}"


Members = dict[str, dict[str, Place]]
"""Places by model key and replica name."""


class Reading(msgspec.Struct, frozen=True):
    """The directory as of `version`."""

    version: int
    members: Members


class Directory:
    """Entries with a lease, so that whoever dies without a word is forgotten, and an empty directory fills itself again.

    One of it runs as an actor. Its state is in memory only: replicas renew what it has lost.
    """

    def __init__(
        self, lease_seconds: float = LEASE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._entries: dict[tuple[str, str], tuple[Place, float]] = {}
        self._version = (
            time.time_ns()
        )  # a directory that was started again has other versions than the one before
        self._changed = asyncio.Event()
        self._applied: dict[str, str] = {}

    async def note(self, app: str, digest: str) -> None:
        """What a Serve application was last deployed with."""
        self._applied[app] = digest

    async def noted(self) -> dict[str, str]:
        """Digests by application. One that is missing, as after a restart, only makes the next update larger."""
        return dict(self._applied)

    async def register(self, key: str, name: str, place: Place) -> None:
        """Write a replica of this model down, or renew its lease."""
        old = self._entries.get((key, name))
        self._entries[key, name] = (place, self._clock() + self._lease_seconds)
        if old is None or old[0] != place:
            self._change()

    async def withdraw(self, key: str, name: str) -> None:
        """Strike a replica out: it takes no new requests."""
        if self._entries.pop((key, name), None) is not None:
            self._change()

    async def watch(self, version: int, seconds: float) -> Reading:
        """What there is, as soon as that differs from `version`; after `seconds` in any case."""
        deadline = self._clock() + seconds
        self._forget()
        while self._version == version and (left := deadline - self._clock()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(left, self._lease_seconds / 4))
            self._forget()
        members: Members = {}
        for (key, name), (place, _) in self._entries.items():
            members.setdefault(key, {})[name] = place
        return Reading(self._version, members)

    def _forget(self) -> None:
        """Strike out those whose lease has ended."""
        now = self._clock()
        dead = [entry for entry, (_, until) in self._entries.items() if until < now]
        for entry in dead:
            del self._entries[entry]
        if dead:
            self._change()

    def _change(self) -> None:
        self._version += 1
        self._changed.set()  # wakes those who wait now; those who come later compare versions
        self._changed = asyncio.Event()
