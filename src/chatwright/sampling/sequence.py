"""What one sequence brings to each of its draws."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from chatwright.core.sampling import SamplingParams
from chatwright.sampling.bad_sequences import BadSequences
from chatwright.sampling.nucleus import TOP_P_DECAY, NucleusSchedule
from chatwright.sampling.touched import TouchedTokens


class SequenceSampler:
    """The sampling state of one sequence: a function of its parameters, its prompt and the tokens in `out`.

    `sample` reads it and changes nothing. `append` takes a token that counts, `rewind` takes tokens back.
    Building it anew and extending it by `out` gives the same state, so nothing of it need outlive a process.
    """

    def __init__(
        self,
        params: SamplingParams,
        prompt: Sequence[int],
        vocab_size: int,
        sentence_ends: NDArray[np.bool_] | None = None,
        *,
        top_p_decay: float = TOP_P_DECAY,
    ) -> None:
        """`prompt` is what was fed, `vocab_size` the width of the logits, `sentence_ends` bool[vocabulary]
        (contract 5.9).

        Raises ValueError for ids outside the vocabulary, or a moving top_p without `sentence_ends`.
        """
        self.params = params
        self.vocab_size = vocab_size
        self.out: list[int] = []
        # top_k 1 leaves nothing to draw: it is greedy (5.2). At or above the vocabulary's size it is off.
        self.greedy = params.greedy or params.top_k == 1
        self.top_k = params.top_k if 0 < params.top_k < vocab_size else 0
        self.temperature = 1.0 if self.greedy else params.temperature
        self.log_min_p = math.log(params.min_p) if params.min_p > 0 else -math.inf
        self.bad = BadSequences(params.bad_sequences)
        self._nucleus = NucleusSchedule(params.top_p, params.top_p_min, sentence_ends, top_p_decay)
        self._counts_output = params.repetition_penalty != 1 or bool(
            params.frequency_penalty or params.presence_penalty
        )
        self.touched = TouchedTokens(vocab_size) if self._may_touch() else None
        if self.touched is not None:
            self._fill(self.touched, prompt)

    def _may_touch(self) -> bool:
        return self._touches_always or self.params.min_tokens > 0

    def _fill(self, touched: TouchedTokens, prompt: Sequence[int]) -> None:
        p = self.params
        masked_early = (*p.eos_token_ids, *p.stop_token_ids) if p.min_tokens else ()
        ends = self._lines(touched, masked_early)
        banned = self._lines(touched, self.bad.always)
        read = self._lines(touched, prompt if p.repetition_penalty != 1 else ())
        biased = self._lines(touched, [token for token, _ in p.logit_bias])
        self._lines(touched, self.bad.last_ids)
        # Adding lines replaces the columns, so they are filled once all lines are there.
        touched.ends[ends] = True
        touched.banned[banned] = True
        touched.in_prompt[read] = True
        np.add.at(touched.bias, biased, [bias for _, bias in p.logit_bias])

    def _lines(self, touched: TouchedTokens, tokens: Collection[int]) -> NDArray[np.int64]:
        ids = np.array(list(tokens), dtype=np.int64)
        if len(ids) and not 0 <= ids.min() <= ids.max() < self.vocab_size:
            raise ValueError("a token id lies outside the vocabulary")
        return touched.lines(ids)

    @property
    def touches(self) -> bool:
        """Whether the next draw's logits differ from the model's, grammar aside."""
        return self.touched is not None and (self._touches_always or self.holds_back_ends)

    @property
    def _touches_always(self) -> bool:
        p = self.params
        return self._counts_output or bool(p.logit_bias or p.bad_sequences)

    @property
    def holds_back_ends(self) -> bool:
        """Whether EOS and stop ids are masked at the next draw (4.4)."""
        return len(self.out) < self.params.min_tokens

    @property
    def uncut(self) -> bool:
        """Whether it draws and neither top_k nor min_p cuts: the distribution's mass is that of all tokens."""
        return not self.greedy and self.top_k == 0 and self.log_min_p == -math.inf

    @property
    def top_p(self) -> float:
        """The one of the next draw."""
        return self._nucleus.top_p

    def append(self, token: int) -> None:
        """Take one generated token."""
        self.out.append(token)
        self.bad.append(token)
        self._nucleus.append(token)
        if self._counts_output and self.touched is not None:
            line = self.touched.line(token)
            self.touched.counts[line] += 1

    def extend(self, tokens: Iterable[int]) -> None:
        """Take generated tokens."""
        for token in tokens:
            self.append(token)

    def rewind(self, length: int) -> None:
        """Take back all but the first `length` generated tokens."""
        dropped = self.out[length:]
        del self.out[length:]
        self.bad.rewind(length)
        self._nucleus.rewind(length)
        if self._counts_output and self.touched is not None:
            for token in dropped:
                line = self.touched.line(token)
                self.touched.counts[line] -= 1
