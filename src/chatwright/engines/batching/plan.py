"""What one step does: the scheduler's decision, which the loop carries out."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field

from chatwright.engines.batching.sequence import Sequence


def levelled(wanted: SequenceOf[int], total: int) -> list[int]:
    """Shares of `total`, none above what is wanted, the least as large as can be (max-min fairness)."""
    shares = [0] * len(wanted)
    left = max(0, total)
    for place, index in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        shares[index] = min(wanted[index], -(-left // (len(wanted) - place)))
        left -= shares[index]
    return shares


@dataclass(slots=True)
class Work:
    """Compute `count` tokens of `sequence` from its `computed` on, then `draft` after them.

    `samples` where that reaches the sequence's end, so that its next token can be chosen; `prefill` where it
    was more than a token away, or is the prompt's last.
    """

    sequence: Sequence
    count: int
    samples: bool
    prefill: bool
    draft: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Plan:
    """One step of at most `budget` prompt tokens, and `loan` more for a prompt that then is through. Saves come first, then
    restores, then the forward pass.
    """

    budget: int = 0
    loan: int = 0
    work: list[Work] = field(default_factory=list)
    saves: list[tuple[Sequence, list[int]]] = field(default_factory=list)
    restores: list[Sequence] = field(default_factory=list)
