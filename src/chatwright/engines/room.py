"""An engine's waiting room: how much waits, how much may, whom that keeps out, and what is known of it elsewhere."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

import msgspec

from chatwright.core.errors import Overloaded

FRESH_SECONDS = 0.25
"""How long an engine's word about its room counts; a busy one says it again with every step."""


class Room(msgspec.Struct, frozen=True):
    """`requests`, and `tokens` of their prompts, wait for their first step; `retry_after` is in seconds."""

    requests: int
    tokens: int
    max_requests: int
    max_tokens: int
    retry_after: float

    def refusal(self, share: float, tokens: int) -> Overloaded | None:
        """Why a prompt of so many tokens may not come in; None where it may. It may fill only its `share` of the room, so
        the smallest are shed first. A prompt over the token bound still enters an empty room.
        """
        if self.requests < math.ceil(self.max_requests * share) and (
            not self.requests or self.tokens + tokens <= self.max_tokens * share
        ):
            return None
        return Overloaded(
            f"The engine's queue is full: {self.requests} requests with {self.tokens} prompt tokens wait.",
            retry_after=self.retry_after,
        )


class RoomWatch:
    """An engine's room as another process knows it: what it last said, and what it had not heard of by then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._room: Room | None = None
        self._until = 0.0
        self._heard = 0
        self._unheard: deque[int] = deque()  # tokens of each prompt

    def sent(self, tokens: int) -> None:
        """A prompt of so many tokens is on its way there."""
        self._unheard.append(tokens)

    def told(self, room: Room, heard: int) -> None:
        """The engine's word, once it had heard of so many prompts of those that were sent from here."""
        while self._heard < heard and self._unheard:
            self._unheard.popleft()
            self._heard += 1
        self._room, self._until = room, self._clock() + FRESH_SECONDS

    def gone(self) -> None:
        """The engine ended, and with it all that is known; its successor counts anew."""
        self._room, self._heard = None, 0
        self._unheard.clear()

    def refusal(self, share: float, coming: int = 0) -> Overloaded | None:
        """Why the engine would refuse even the shortest prompt now, as far as is known here; None: ask it. So many others,
        which are not sent yet, come before.
        """
        if self._room is None or self._clock() >= self._until:
            return None
        waiting = msgspec.structs.replace(
            self._room,
            requests=self._room.requests + len(self._unheard) + coming,
            tokens=self._room.tokens + sum(self._unheard) + coming,
        )
        return waiting.refusal(share, 1)
