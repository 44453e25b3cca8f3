"""The text that the state machine has not read yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from chatwright.core.deltas import LogprobEntry
from chatwright.parsing.pieces import Segment


class Tape:
    """Unread text, with the bookkeeping of the tokens it came from.

    States look at `text` from `at` on and `take` what they have decided about; they leave at most a marker's beginning.
    Entries of taken tokens gather in `entries` until the next Delta carries them. While `thinking` is set, taken
    tokens count as reasoning: a token belongs to where its first character is.
    """

    def __init__(self) -> None:
        self.text = ""
        self.at = 0
        self.entries: list[LogprobEntry] = []
        self.thinking = False
        self.reasoning_tokens = 0
        self.tokens = 0
        self._segments: deque[Segment] = deque()
        self._offset = 0

    def write(self, segments: Sequence[Segment]) -> None:
        """Append new text."""
        if segments:
            self._segments.extend(segments)
            fresh = segments[0].text if len(segments) == 1 else "".join(segment.text for segment in segments)
            self.text = self.text[self.at :] + fresh
            self.at = 0

    @property
    def unread(self) -> int:
        """Characters left."""
        return len(self.text) - self.at

    def char(self) -> str:
        """The next character, "" at the end."""
        return self.text[self.at : self.at + 1]

    def special_at(self) -> int:
        """Index into `text` of the next character that comes from a special token; its length where there is none."""
        index = self.at - self._offset
        for segment in self._segments:
            if segment.special:
                return max(index, self.at)
            index += len(segment.text)
        return index

    def take(self, count: int, *, marker: bool = False) -> str:
        """Read `count` characters and return those that may be shown.

        Hidden characters are left out; their token's entry is dropped too, unless they are part of a `marker`.
        """
        self.at += count
        first = self._segments[0] if count else None
        if first is not None and not self._offset and len(first.text) == count and not first.hidden:
            self._account(self._segments.popleft(), keep_entries=True)  # a whole token: nearly always
            return first.text
        shown: list[str] = []
        while count > 0:
            segment = self._segments[0]
            if self._offset == 0:
                self._account(segment, keep_entries=marker or not segment.hidden)
            part = segment.text[self._offset : self._offset + count]
            if not segment.hidden:
                shown.append(part)
            count -= len(part)
            self._offset += len(part)
            if self._offset == len(segment.text):
                self._segments.popleft()
                self._offset = 0
        return "".join(shown)

    def take_rest(self) -> str:
        """Read everything, tokens without text included."""
        text = self.take(self.unread)
        for segment in self._segments:
            self._account(segment, keep_entries=True)
        self._segments.clear()
        return text

    def _account(self, segment: Segment, *, keep_entries: bool) -> None:
        """Count a token whose first character is taken."""
        if keep_entries:
            self.entries.extend(segment.entries)
        self.tokens += segment.tokens
        if self.thinking:
            self.reasoning_tokens += segment.tokens
