"""Server-sent events (WHATWG HTML, section 9.2.6), as far as JSON streams use them: their data, in order."""

from __future__ import annotations

from collections.abc import Iterator

MOST_BYTES = 16 << 20
"""Of one event."""


class EventParser:
    """Feed it bytes as they come, split anywhere; it gives the data of each whole event."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The events that end in these bytes. Raises ValueError for one without an end."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        self._size += len(data)
        for raw in lines:
            line = raw.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                event, self._data, self._size = b"\n".join(self._data), [], len(self._rest)
                yield event
        if self._size > MOST_BYTES:
            raise ValueError("an event is larger than 16 MiB")

    @property
    def whole(self) -> bool:
        """Whether the stream could end here without cutting an event."""
        return not self._rest and not self._data
