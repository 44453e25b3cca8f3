"""What becomes of each field of a request on another server's engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Handling = Literal["mapped", "emulated", "refused"]


class Capability(msgspec.Struct, frozen=True):
    """One field. mapped: the server does it; emulated: done on our side of the wire, or by a plug-in of
    ours there, with the same effect; refused: a value
    other than the default is a 400 that names field and engine. `needs` is a feature of the server (`Greeting.features`)
    without which it is refused.
    """

    field: str
    handling: Handling
    note: str = ""
    needs: str = ""


def unsupported(capabilities: Iterable[Capability], features: frozenset[str]) -> tuple[str, ...]:
    """The fields that a server with these features can't honour."""
    return tuple(
        row.field
        for row in capabilities
        if row.handling == "refused" or (row.needs and row.needs not in features)
    )
