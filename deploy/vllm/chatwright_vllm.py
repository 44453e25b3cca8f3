"""Logits processors for vLLM 0.32 (V1 engine): what Chatwright's contract has and vLLM's own sampler hasn't.

One file that needs nothing but vLLM; Chatwright finds out by itself whether a server has it. Put it where vLLM's Python finds it:

    PYTHONPATH=deploy/vllm vllm serve MODEL --enable-scale-out \\
        --logits-processors chatwright_vllm:Bans chatwright_vllm:Draws

A request brings its part under "chatwright" in SamplingParams.extra_args:

    bad        token id sequences; the last id is masked where the ones before it have just been generated
    first      ids that the answer must begin with: another server has sampled them already
    thinking   [most tokens, start id, end id, whether the prompt began it]: then the end id is forced
    draw       temperature, min_p, top_k, top_p, top_p_min: all of them done here, where vLLM's temperature ends at 2, or where
               top_p shrinks along a sentence (Lee et al. 2022, arXiv 2206.04624); vLLM is given its defaults then
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.tokenizers import cached_tokenizer_from_config
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

KEY = "chatwright"
MEMBERS = frozenset({"bad", "first", "thinking", "draw"})
DECAY = 0.9
SENTENCE_END = re.compile(r"""[.!?\n]["'”’»)\]}]*$""")
RowProcessor = Callable[[list[int], torch.Tensor], torch.Tensor]


def _part(params: SamplingParams) -> dict[str, Any]:
    part = (params.extra_args or {}).get(KEY)
    return part if isinstance(part, dict) else {}


class Bans(AdapterLogitsProcessor):
    """What may not come next, and what must."""

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Refuses what this file doesn't know; Chatwright asks with such a member to learn that it is here."""
        unknown = _part(sampling_params).keys() - MEMBERS
        if unknown:
            raise ValueError(
                f"extra_args.{KEY} has members that chatwright_vllm doesn't know: {sorted(unknown)}"
            )

    def is_argmax_invariant(self) -> bool:
        """It may ban or force the most likely token."""
        return False

    def new_req_logits_processor(self, params: SamplingParams) -> RowProcessor | None:
        """None for a request that brings nothing for it."""
        part = _part(params)
        rules: list[RowProcessor] = []
        if part.get("bad"):
            rules.append(_BadSequences(part["bad"]))
        if part.get("thinking"):
            rules.append(_ThinkingBudget(*part["thinking"]))
        if part.get("first"):
            rules.append(_Beginning(part["first"]))
        return _Chain(rules) if rules else None


class _Chain:
    def __init__(self, rules: Sequence[RowProcessor]) -> None:
        self._rules = rules

    def __call__(self, output: list[int], logits: torch.Tensor) -> torch.Tensor:
        for rule in self._rules:
            logits = rule(output, logits)
        return logits


class _BadSequences:
    """A step looks at the sequences that begin with one of the ids before the last token, not at all of them."""

    def __init__(self, sequences: Sequence[Sequence[int]]) -> None:
        self._by_last_but_one: dict[int, list[tuple[list[int], int]]] = defaultdict(list)
        for sequence in sequences:
            self._by_last_but_one[sequence[-2]].append((list(sequence[:-1]), sequence[-1]))

    def __call__(self, output: list[int], logits: torch.Tensor) -> torch.Tensor:
        if not output:
            return logits
        banned = {
            last
            for before, last in self._by_last_but_one.get(output[-1], ())
            if output[-len(before) :] == before
        }
        if banned:
            kept = logits.clone()
            logits[list(banned)] = -math.inf
            if not bool((logits > -math.inf).any()):  # a grammar that allows nothing else goes first
                return kept
        return logits


class _Beginning:
    def __init__(self, first: Sequence[int]) -> None:
        self._first = first

    def __call__(self, output: list[int], logits: torch.Tensor) -> torch.Tensor:
        return _only(self._first[len(output)], logits) if len(output) < len(self._first) else logits


class _ThinkingBudget:
    """Once the budget is spent, the end comes where the grammar allows it: not within a character."""

    def __init__(self, most: int, start: int, end: int, inside: bool) -> None:
        self._most, self._start, self._end = most, start, end
        self._inside, self._over = inside, False
        self._seen = self._thought = 0

    def __call__(self, output: list[int], logits: torch.Tensor) -> torch.Tensor:
        for token in output[self._seen :]:
            self._count(token)
        self._seen = len(output)
        spent = self._inside and not self._over and self._thought >= self._most
        if spent and bool(logits[self._end] > -math.inf):
            return _only(self._end, logits)
        return logits

    def _count(self, token: int) -> None:
        if self._over:
            return
        if token == self._end:
            self._over = True
        elif token == self._start:
            self._inside = True
        elif self._inside:
            self._thought += 1


def _only(token: int, logits: torch.Tensor) -> torch.Tensor:
    forced = torch.full_like(logits, -math.inf)
    forced[token] = 0.0
    return forced


class Draws(AdapterLogitsProcessor):
    """How the token is drawn, where vLLM can't: temperature, min_p, top_k and a top_p that may move, in this order."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        super().__init__(vllm_config, device, is_pin_memory)
        self._model_config = vllm_config.model_config
        self._ends: frozenset[int] | None = None

    def is_argmax_invariant(self) -> bool:
        """The most likely token always stays."""
        return True

    def new_req_logits_processor(self, params: SamplingParams) -> RowProcessor | None:
        """None for a request that brings nothing for it."""
        part = _part(params).get("draw")
        if part is None:
            return None
        if self._ends is None:
            self._ends = _sentence_ends(cached_tokenizer_from_config(self._model_config))
        return _Draw(ends=self._ends, **part)


class _Draw:
    def __init__(
        self,
        temperature: float,
        min_p: float,
        top_k: int,
        top_p: float,
        top_p_min: float,
        ends: frozenset[int],
    ) -> None:
        self._temperature, self._min_p, self._top_k = temperature, min_p, top_k
        self._start = self._p = max(top_p, top_p_min)
        self._floor, self._moves = top_p_min, 0 < top_p_min < top_p
        self._ends = ends
        self._seen = 0

    def __call__(self, output: list[int], logits: torch.Tensor) -> torch.Tensor:
        if self._moves:
            for token in output[self._seen :]:
                self._p = self._start if token in self._ends else max(self._floor, self._p * DECAY)
            self._seen = len(output)
        logits.div_(self._temperature)
        values, order = torch.sort(logits.float(), descending=True)
        out = values == -math.inf
        if self._min_p > 0:
            out |= values < values[0] + math.log(self._min_p)
        if 0 < self._top_k < values.numel():
            out |= values < values[self._top_k - 1]
        probabilities = torch.softmax(values.masked_fill(out, -math.inf), dim=-1)
        if self._p < 1:
            out |= torch.cumsum(probabilities, dim=-1) - probabilities >= self._p
        out[0] = False
        logits[order[out]] = -math.inf
        return logits


def _sentence_ends(tokenizer: Any) -> frozenset[int]:
    """Ids whose own text ends a sentence; special tokens don't."""
    special = set(tokenizer.all_special_ids)
    return frozenset(
        token
        for token in range(len(tokenizer))
        if token not in special and SENTENCE_END.search(tokenizer.decode([token]))
    )
