"""The seam of a `ReplicaSet`: who is to serve a request, given how busy everybody is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from chatwright.core.generation import GenerationRequest


class Load(NamedTuple):
    """What a member has been given and has not ended: `requests`, and the `tokens` of KV that they may take."""

    requests: int = 0
    tokens: int = 0


class Router(Protocol):
    """A pure decision and its memory. Called from one event loop."""

    def choose(self, request: GenerationRequest, loads: Mapping[str, Load]) -> str:
        """One of the members in `loads`, which are those that may have it: never none."""

    def sent(self, request: GenerationRequest, name: str) -> None:
        """The request went to this member."""

    def forget(self, name: str) -> None:
        """The member has gone, or come back empty."""


class LeastLoaded:
    """The member with the fewest requests, then tokens; the first of equals by name."""

    def choose(self, request: GenerationRequest, loads: Mapping[str, Load]) -> str:
        """See `Router.choose`."""
        return min(loads, key=lambda name: (loads[name], name))

    def sent(self, request: GenerationRequest, name: str) -> None:
        """Nothing to remember."""

    def forget(self, name: str) -> None:
        """Nothing to forget."""
