"""Refusing at once what a full engine would refuse: no rendering, no ledger, no limits for what would be sent away."""

from __future__ import annotations

import time
from collections.abc import Callable

from chatwright.accounts.tiers import TIERS
from chatwright.core.engine import Engine, TellsLoad
from chatwright.core.errors import Overloaded

HOLD_SECONDS = 0.1
"""How long a refusal is repeated. The engine's waiting room is full meanwhile, so it doesn't run dry."""
COMING_SECONDS = 0.1
"""How long a request that is rendered counts as one that comes: grammars that take seconds must keep nobody out."""


class Shedding:
    """What is known of each model's engine without asking it: what it tells of its load, who is on the way there, and what it
    refused last. `clock` gives monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._coming: dict[str, dict[Entrance, float]] = {}  # when they came in, oldest first
        self._refusals: dict[str, tuple[float, float, Overloaded]] = {}  # until, share of the room, as told

    def enter(self, model: str, tier: str, engine: Engine) -> Entrance:
        """Raises Overloaded where a request of this tier would be refused now."""
        share, coming = TIERS[tier].waiting_share, self._recent(model)
        full = engine.overload(share, len(coming)) if isinstance(engine, TellsLoad) else None
        full = full or self._repeated(model, share)
        if full is not None:
            raise full
        entrance = Entrance(self, model, share)
        coming[entrance] = self._clock()
        return entrance

    def _recent(self, model: str) -> dict[Entrance, float]:
        coming = self._coming.setdefault(model, {})
        oldest = self._clock() - COMING_SECONDS
        for entrance in [one for one, since in coming.items() if since <= oldest]:
            del coming[entrance]
        return coming

    def leave(self, model: str, entrance: Entrance) -> None:
        """One that was coming has come, or never will."""
        self._coming[model].pop(entrance, None)

    def note(self, model: str, share: float, refusal: Overloaded) -> None:
        """The engine has refused a request that may fill this share of its waiting room."""
        self._refusals[model] = (self._clock() + HOLD_SECONDS, share, refusal)

    def _repeated(self, model: str, share: float) -> Overloaded | None:
        """The refusal of a moment ago, where it was of this share or a larger one."""
        until, refused, refusal = self._refusals.get(model, (0.0, 0.0, None))
        if refusal is None or self._clock() >= until or share > refused:
            return None
        return Overloaded(refusal.message, retry_after=refusal.retry_after)


class Entrance:
    """A request on its way to its engine. Call `passed` whatever becomes of it."""

    def __init__(self, shedding: Shedding, model: str, share: float) -> None:
        """Made by `Shedding.enter`."""
        self._shedding = shedding
        self._model = model
        self._share = share

    def passed(self) -> None:
        """It is sent now, or never will be. A second time does nothing."""
        self._shedding.leave(self._model, self)

    def refused(self, refusal: Overloaded) -> None:
        """The engine has no room for it."""
        self._shedding.note(self._model, self._share, refusal)
