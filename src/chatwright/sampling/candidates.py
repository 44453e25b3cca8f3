"""The top of each row's adjusted distribution, from the model's K best logits alone.

A row's parameters change few ids, all known. Every other id outside the K candidates lies at or below the
last of them, so the K candidates without the changed ids, plus all changed ids with their new logits, are the
exact top above that bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from chatwright.sampling import transforms
from chatwright.sampling.order import in_order
from chatwright.sampling.sequence import SequenceSampler

Int32 = NDArray[np.int32]
Float32 = NDArray[np.float32]


class Logits(Protocol):
    """What leaves the model for S rows; see `sample`."""

    @property
    def candidate_ids(self) -> Int32:
        """[S, K], by descending logit, ties by ascending id."""

    @property
    def candidate_logits(self) -> Float32:
        """[S, K]."""

    @property
    def logsumexp(self) -> Float32:
        """[S], over the whole vocabulary."""

    @property
    def logits(self) -> Float32:
        """[S, vocabulary]."""


class Row(NamedTuple):
    """One draw: from row `at` of the logits, under a grammar's bitmask int32[vocabulary / 32] or None."""

    sampler: SequenceSampler
    at: int
    mask: Int32 | None = None


class Candidates(NamedTuple):
    """The best tokens of R rows in order; padding has logit -inf.

    Tokens of row r that are not listed have logits <= bound[r], so the list is exact above the bound.
    """

    ids: Int32  # [R, C]
    logits: Float32  # [R, C]
    bound: Float32  # [R]


class Lift(IntEnum):
    """Which masks are lifted because nothing would be left to draw (contract section 4)."""

    NOTHING = 0
    BANS = 1
    BANS_AND_MIN_TOKENS = 2


def model_candidates(indices: Sequence[int], logits: Logits) -> Candidates:
    """The rows as they leave the model."""
    at = np.array(indices, dtype=np.intp)
    values = logits.candidate_logits[at]
    complete = values.shape[1] == logits.logits.shape[1]
    bound = np.full(len(at), -np.inf, dtype=np.float32) if complete else values[:, -1].copy()
    return Candidates(logits.candidate_ids[at], values, bound)


def stack(lists: Sequence[Candidates]) -> Candidates:
    """Lists of one row each, padded to one width."""
    width = max(top.ids.shape[1] for top in lists)
    ids = np.zeros((len(lists), width), dtype=np.int32)
    values = np.full((len(lists), width), -np.inf, dtype=np.float32)
    for r, top in enumerate(lists):
        ids[r, : top.ids.shape[1]] = top.ids[0]
        values[r, : top.ids.shape[1]] = top.logits[0]
    return Candidates(ids, values, np.concatenate([top.bound for top in lists]))


def adjusted_candidates(rows: Sequence[Row], logits: Logits) -> Candidates:
    """The rows after grammar mask, bans, min_tokens, bias and penalties (4.1, 4.3 to 4.6)."""
    top = model_candidates([row.at for row in rows], logits)
    for r, row in enumerate(rows):
        _drop_changed(row, top.ids[r], top.logits[r])
    owner, ids, values = _touched(rows, logits)
    above = values > top.bound[owner]
    return _merge(top, owner[above], ids[above], values[above])


def _drop_changed(row: Row, ids: Int32, values: Float32) -> None:
    """-inf, in place, for candidates that the grammar forbids or that come again as touched ids."""
    if row.sampler.touched is not None:
        values[row.sampler.touched.has(ids)] = -np.inf
    if row.mask is not None:
        values[~transforms.allowed_ids(row.mask, ids)] = -np.inf


def _touched(rows: Sequence[Row], logits: Logits) -> tuple[NDArray[np.intp], NDArray[np.int64], Float32]:
    """All touched ids of all rows, flat: the position of their row in `rows`, id, adjusted logit."""
    sizes = [row.sampler.touched.size if row.sampler.touched else 0 for row in rows]
    owner = np.repeat(np.arange(len(rows)), sizes)
    if not len(owner):
        return owner, np.zeros(0, np.int64), np.zeros(0, np.float32)
    ids = np.concatenate([t.ids[: t.size] for row in rows if (t := row.sampler.touched)])
    raw = logits.logits[np.repeat([row.at for row in rows], sizes), ids]
    values = adjust(raw, [row.sampler for row in rows])
    start = 0
    for row, size in zip(rows, sizes, strict=True):
        if row.mask is not None and size:
            part = slice(start, start + size)
            values[part][~transforms.allowed_ids(row.mask, ids[part])] = -np.inf
        start += size
    return owner, ids, values


def adjust(raw: Float32, samplers: Sequence[SequenceSampler], lift: Lift = Lift.NOTHING) -> Float32:
    """New logits of the touched ids of several sequences, one after the other; `raw` are the model's."""
    tables = [(s, t) for s in samplers if (t := s.touched)]
    sizes = [table.size for _, table in tables]

    def parameter(name: str) -> NDArray[np.float64]:
        return np.repeat([float(getattr(s.params, name)) for s, _ in tables], sizes)

    counts = np.concatenate([t.counts[: t.size] for _, t in tables])
    in_prompt = np.concatenate([t.in_prompt[: t.size] for _, t in tables])
    forbidden = np.isneginf(raw) | np.concatenate([_forbidden(s, lift) for s, _ in tables])
    z = transforms.ban(raw.astype(np.float64), forbidden)
    z = transforms.logit_bias(z, np.concatenate([t.bias[: t.size] for _, t in tables]))
    z = transforms.repetition_penalty(z, parameter("repetition_penalty"), in_prompt | (counts > 0))
    z = transforms.frequency_penalty(z, parameter("frequency_penalty"), counts)
    z = transforms.presence_penalty(z, parameter("presence_penalty"), counts)
    return transforms.to_float32(z, forbidden)


def _forbidden(sampler: SequenceSampler, lift: Lift) -> NDArray[np.bool_]:
    """Which touched ids are banned now, by bad sequences or `min_tokens`."""
    table = sampler.touched
    assert table is not None
    forbidden = np.zeros(table.size, dtype=np.bool_)
    if lift < Lift.BANS:
        forbidden |= table.banned[: table.size]
        if completing := sampler.bad.completing():
            forbidden[table.lines(np.array(completing))] = True
    if lift < Lift.BANS_AND_MIN_TOKENS and sampler.holds_back_ends:
        forbidden |= table.ends[: table.size]
    return forbidden


def _merge(top: Candidates, owner: NDArray[np.intp], ids: NDArray[np.int64], values: Float32) -> Candidates:
    """Sort further tokens, flat and grouped by ascending `owner`, into the lists."""
    rows, width = top.ids.shape
    counts = np.bincount(owner, minlength=rows)
    column = width + np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (rows, width + int(counts.max(initial=0)))
    all_ids = np.zeros(shape, dtype=np.int32)
    all_values = np.full(shape, -np.inf, dtype=np.float32)
    all_ids[:, :width] = top.ids
    all_values[:, :width] = top.logits
    all_ids[owner, column] = ids
    all_values[owner, column] = values
    return Candidates(*in_order(all_values, all_ids), top.bound)
