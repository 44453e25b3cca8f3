"""Circuit breaker (M. Nygard, Release It!, chapter 5): a server that keeps failing isn't asked for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

FAILURES = 3
"""One after the other, without an answer between them."""
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds; the next one whenever a trial fails."""


class Breaker:
    """closed: requests flow. open: none does until a pause is over and a health check went well. half-open: requests flow
    again, and the first of them decides.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._opened = 0
        self._until = 0.0
        self.state: Literal["closed", "open", "half-open"] = "closed"

    @property
    def seconds_left(self) -> float:
        """Until a trial is due; 0 unless open."""
        return max(0.0, self._until - self._clock()) if self.state == "open" else 0.0

    def succeed(self) -> None:
        """The server has answered a request."""
        self.state = "closed"
        self._failures = self._opened = 0

    def fail(self) -> None:
        """The server could not be reached, broke off or reported a fault of its own."""
        self._failures += 1
        if self.state == "half-open" or self._failures >= FAILURES:
            self.trip()

    def trip(self) -> None:
        """Open it, or open it for longer."""
        pause = PAUSES[min(self._opened, len(PAUSES) - 1)]
        self.state, self._until = "open", self._clock() + pause
        self._opened += 1

    def probed(self) -> None:
        """A health check of an open one went well."""
        if self.state == "open":
            self.state = "half-open"
