"""The numbers themselves: plain sums that one thread adds to and that add up across processes."""

from __future__ import annotations

from bisect import bisect_left

import msgspec

SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0,
)  # fmt: skip
"""Upper bounds of buckets of times."""

TOKENS = tuple(float(scale * step) for scale in (1, 10, 100, 1000, 10_000, 100_000) for step in (1, 2, 5))
"""Upper bounds of buckets of token counts."""

MOST_KEYS = 1000
"""Keys beyond these share the label "other": labels are bounded."""


class Histogram(msgspec.Struct):
    """`counts` has one number a bucket and one for what is above the last bound."""

    bounds: tuple[float, ...]
    counts: list[int]
    total: float = 0.0

    @classmethod
    def of(cls, bounds: tuple[float, ...]) -> Histogram:
        """An empty one."""
        return cls(bounds, [0] * (len(bounds) + 1))

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value. A bound belongs to the bucket below it, as Prometheus' `le` says."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def add(self, other: Histogram) -> None:
        """Add one of the same bounds."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


def _seconds() -> Histogram:
    return Histogram.of(SECONDS)


def _tokens() -> Histogram:
    return Histogram.of(TOKENS)


class ModelCounts(msgspec.Struct):
    """A model's requests: times in seconds, tokens, and how they ended."""

    time_to_first_token: Histogram = msgspec.field(default_factory=_seconds)
    inter_token: Histogram = msgspec.field(default_factory=_seconds)
    per_output_token: Histogram = msgspec.field(default_factory=_seconds)
    end_to_end: Histogram = msgspec.field(default_factory=_seconds)
    queue: Histogram = msgspec.field(default_factory=_seconds)
    prefill: Histogram = msgspec.field(default_factory=_seconds)
    grammar: Histogram = msgspec.field(default_factory=_seconds)
    decode: Histogram = msgspec.field(default_factory=_seconds)
    inference: Histogram = msgspec.field(default_factory=_seconds)
    prompt_lengths: Histogram = msgspec.field(default_factory=_tokens)
    output_lengths: Histogram = msgspec.field(default_factory=_tokens)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    accepted_drafts: int = 0
    rejected_drafts: int = 0
    ended: dict[str, int] = {}
    """By finish reason: stop, length, tool_calls, abort, refused, error."""


class KeyCounts(msgspec.Struct):
    """A key's requests that were admitted."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class Counts(msgspec.Struct):
    """Everything that one process has counted; `responses` by HTTP status."""

    models: dict[str, ModelCounts] = {}
    keys: dict[str, KeyCounts] = {}
    responses: dict[str, int] = {}

    def model(self, slug: str) -> ModelCounts:
        """A model's numbers, made where they are missing. Slugs come from the configuration, so they are bounded."""
        found = self.models.get(slug)
        if found is None:
            found = self.models[slug] = ModelCounts()
        return found

    def key(self, key_id: str) -> KeyCounts:
        """A key's numbers."""
        if key_id not in self.keys and len(self.keys) >= MOST_KEYS:
            key_id = "other"
        return self.keys.setdefault(key_id, KeyCounts())

    def add(self, other: Counts) -> None:
        """Add what another process has counted."""
        for slug, theirs in other.models.items():
            _add(self.model(slug), theirs)
        for key_id, counts in other.keys.items():
            _add(self.key(key_id), counts)
        add_up(self.responses, other.responses)


def _add(mine: msgspec.Struct, theirs: msgspec.Struct) -> None:
    for name in mine.__struct_fields__:
        value, other = getattr(mine, name), getattr(theirs, name)
        if isinstance(value, Histogram):
            value.add(other)
        elif isinstance(value, dict):
            add_up(value, other)
        else:
            setattr(mine, name, value + other)


def add_up(sums: dict[str, int], more: dict[str, int]) -> None:
    """Add each number of `more` to its namesake."""
    for name, number in more.items():
        sums[name] = sums.get(name, 0) + number
