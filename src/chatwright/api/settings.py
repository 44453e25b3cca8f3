"""What an operator may choose about the wire."""

from __future__ import annotations

import msgspec

from chatwright.api.limits import BODY


class ApiSettings(msgspec.Struct, frozen=True):
    """Sizes in bytes, times in seconds.

    `headers_after` is how long a stream's status line waits for the first event; `heartbeat_every` the silence after
    which a comment keeps proxies from closing the stream; `stalled_after` how long a client may refuse to read, or not go
    on sending, before it counts as gone; `deadline` how long a request may wait for its first token (None: for ever).
    """

    body_bytes: int = BODY.maximum
    headers_after: float = 1.0
    heartbeat_every: float = 10.0
    stalled_after: float = 60.0
    deadline: float | None = None
