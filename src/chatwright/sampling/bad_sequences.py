"""Token sequences that must not be completed (contract 5.6)."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence

_WIDTH = array("i").itemsize


class BadSequences:
    """Which ids would complete a bad sequence now. Only generated tokens count as its beginning.

    Tokens are kept as bytes: a thousand sequences of hundreds of tokens, all of them begun, are then compared in
    a fraction of a millisecond.
    """

    def __init__(self, sequences: Sequence[tuple[int, ...]]) -> None:
        """Empty sequences ban nothing."""
        self.always = frozenset(sequence[0] for sequence in sequences if len(sequence) == 1)
        self._by_trigger: dict[bytes, list[tuple[bytes, int]]] = {}
        self._history = bytearray()
        for sequence in set(sequences):
            if len(sequence) > 1:
                start, last = array("i", sequence[:-1]).tobytes(), sequence[-1]
                self._by_trigger.setdefault(start[-_WIDTH:], []).append((start, last))

    @property
    def last_ids(self) -> frozenset[int]:
        """Every id that some history bans."""
        pairs = (pair for group in self._by_trigger.values() for pair in group)
        return self.always | {last for _, last in pairs}

    def append(self, token: int) -> None:
        """Take one generated token."""
        if self._by_trigger:
            self._history += token.to_bytes(_WIDTH, sys.byteorder)

    def rewind(self, length: int) -> None:
        """Take back all but the first `length` generated tokens."""
        del self._history[_WIDTH * length :]

    def completing(self) -> list[int]:
        """Ids banned by the end of what was generated, `always` left out."""
        group = self._by_trigger.get(bytes(self._history[-_WIDTH:]))
        if not group:
            return []
        return [last for start, last in group if self._history.endswith(start)]
