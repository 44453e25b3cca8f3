"""Drafts against the tokens that would have been drawn without them (speculative decoding with repeated
draws).

A draft is accepted while it equals the draw its position gets anyway, from its own (seed, index). So the
text, and with it the distribution, is that of decoding without drafts; Leviathan et al. 2022 (arXiv
2211.17192) accept more drafts but only keep the distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chatwright.core.generation import TokenLogprob
from chatwright.sampling.candidates import Logits, Row
from chatwright.sampling.logprobs import reports
from chatwright.sampling.sampler import sample
from chatwright.sampling.sequence import SequenceSampler


class Draft(NamedTuple):
    """`tokens` proposed after the sequence's last one. Their logits, and those after the last of them, are
    rows `first_index` to `first_index + len(tokens)`. `masks` holds a grammar's bitmask (or None) for each of
    these rows, made as if the drafts before it were accepted; empty is unconstrained. The first `forced` tokens
    are all their masks allow, so they are taken without a draw.
    """

    sampler: SequenceSampler
    first_index: int
    tokens: Sequence[int]
    masks: Sequence[NDArray[np.int32] | None] = ()
    forced: int = 0


class Verified(NamedTuple):
    """The tokens to append: the first `accepted` drafts, then one drawn. It may be NO_TOKEN, as in
    `sample`.
    """

    tokens: list[int]
    logprobs: list[TokenLogprob | None]
    accepted: int


def verify(drafts: Sequence[Draft], logits: Logits) -> list[Verified]:
    """Draw along each draft until a draw differs from it; the samplers end as they were.

    Positions are walked in waves over all sequences, since penalties at a position must see the drafts before
    it.
    """
    if not any(draft.tokens for draft in drafts):
        drawn = sample([_row(draft, 0) for draft in drafts], logits)
        return [Verified([t], [p], 0) for t, p in zip(drawn.tokens, drawn.logprobs, strict=True)]
    lengths = [len(draft.sampler.out) for draft in drafts]
    results = [_forced(draft, logits) for draft in drafts]
    active = list(range(len(drafts)))
    while active:
        rows = [_row(drafts[i], len(results[i].tokens)) for i in active]
        drawn = sample(rows, logits)
        following = []
        for i, token, logprob in zip(active, drawn.tokens, drawn.logprobs, strict=True):
            step = len(results[i].tokens)
            results[i].tokens.append(token)
            results[i].logprobs.append(logprob)
            draft = drafts[i]
            if step < len(draft.tokens) and token == draft.tokens[step]:
                draft.sampler.append(token)
                results[i] = results[i]._replace(accepted=step + 1)
                following.append(i)
        active = following
    for draft, length in zip(drafts, lengths, strict=True):
        draft.sampler.rewind(length)
    return results


def _forced(draft: Draft, logits: Logits) -> Verified:
    """What is decided before any draw. Leaves the sampler behind it."""
    tokens = list(draft.tokens[: draft.forced])
    rows = [_row(draft, step) for step in range(len(tokens))]
    draft.sampler.extend(tokens)
    return Verified(tokens, reports(rows, tokens, logits), len(tokens))


def _row(draft: Draft, step: int) -> Row:
    mask = draft.masks[step] if draft.masks else None
    return Row(draft.sampler, draft.first_index + step, mask)
