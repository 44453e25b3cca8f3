"""One grammar stepped token by token (llguidance: Moskal et al., github.com/guidance-ai/llguidance).

The same code compiles in the worker that judges a client's grammar and in the engine that follows it, under the same limits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import llguidance
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.int32]
"""A bit per token id, lowest first: int32[ceil(vocabulary / 32)]."""

FORCED_LIMIT = 32
"""Forced tokens that are looked ahead at once."""


class GrammarError(Exception):
    """A grammar that doesn't compile, or passes its budget while it is followed; the reason is fit for the client."""


class Vocabulary:
    """A tokenizer as llguidance sees it. Immutable; threads may share it."""

    def __init__(self, tokenizer_json: str, vocab_size: int, eos_token_ids: Sequence[int]) -> None:
        """`vocab_size` is the width of the logits. Raises ValueError where the tokenizer can't be used."""
        self.tokenizer = llguidance.LLTokenizer(
            tokenizer_json, n_vocab=vocab_size, eos_token=list(eos_token_ids)
        )
        self.vocab_size = vocab_size
        self.eos_token_ids = tuple(eos_token_ids)
        added = json.loads(tokenizer_json).get("added_tokens") or []
        self.special = {
            token["content"]: token["id"] for token in added if self.tokenizer.is_special_token(token["id"])
        }
        """Ids of the tokens that are no text to a grammar, by their literals."""
        self._limits = llguidance.LLParserLimits(
            step_max_items=10_000,  # about half a millisecond of Earley items a mask
            step_lexer_fuel=100_000,
            max_lexer_states=50_000,
            verbose_errors=False,
        )
        eos = np.zeros((vocab_size + 31) // 32 * 32, np.uint8)
        eos[list(eos_token_ids)] = 1
        self.eos_mask = _packed(eos)

    def compile(self, source: str) -> Matcher:
        """Raises GrammarError."""
        matcher = llguidance.LLMatcher(self.tokenizer, source, log_level=0, limits=self._limits)
        if matcher.is_error():
            raise GrammarError(_reason(matcher.get_error()))
        return Matcher(matcher, self)

    def only(self, token: int) -> Mask:
        """The mask that allows one token."""
        bits = np.zeros((self.vocab_size + 31) // 32, np.uint32)
        bits[token // 32] = np.uint32(1) << np.uint32(token % 32)
        return bits.view(np.int32)


class Matcher:
    """Where one answer stands in its grammar. Not for use by two threads at once.

    Methods raise GrammarError where llguidance gives up; the matcher is of no more use then.
    """

    def __init__(self, matcher: Any, vocabulary: Vocabulary) -> None:
        self._matcher = matcher
        self.vocabulary = vocabulary

    def fork(self) -> Matcher:
        """An independent copy in the same state; cheap."""
        return Matcher(self._matcher.deep_copy(), self.vocabulary)

    @property
    def complete(self) -> bool:
        """Whether the answer so far is whole and nothing can follow."""
        return bool(self._matcher.is_stopped()) and not self._matcher.is_error()

    @property
    def accepting(self) -> bool:
        """Whether the answer may end here."""
        return bool(self._matcher.is_accepting())

    def accept(self, tokens: Iterable[int]) -> None:
        """Take generated tokens, which the masks must have allowed."""
        if not self._matcher.consume_tokens(list(tokens)):
            raise self._error()

    def mask(self) -> Mask:
        """The tokens that may come next; ids that end the answer are among them where it may end."""
        mask: Mask = np.frombuffer(self._matcher.compute_bitmask(), np.int32)
        if self._matcher.is_error():
            raise self._error()
        return mask[
            : self.vocabulary.eos_mask.size
        ]  # llguidance adds a word where the vocabulary fills its last one

    def masks(self, draft: Sequence[int]) -> list[Mask | None]:
        """The mask here and after each draft token, as far as the grammar allows the draft; None behind that."""
        masks: list[Mask | None] = [self.mask()]
        allowed = self._matcher.validate_tokens(list(draft)) if draft else 0
        taken = 0
        for token in draft[:allowed]:
            if self.complete:
                break
            self.accept([token])
            taken += 1
            masks.append(self.vocabulary.eos_mask if self.complete else self.mask())
        if taken and not self._matcher.rollback(taken):
            raise self._error()
        return masks + [None] * (len(draft) + 1 - len(masks))

    def allows(self, token: int) -> bool:
        """Whether this token may come next."""
        return bool(self._matcher.validate_tokens([token]) == 1)

    def allowed(self, tokens: Sequence[int]) -> list[int]:
        """As many of these tokens, from the first on, as may come next."""
        return list(tokens[: self._matcher.validate_tokens(list(tokens))])

    def forced(self) -> list[int]:
        """The tokens that must come next, as the tokenizer writes the only possible text; [] where there is a choice."""
        tokens: list[int] = self._matcher.compute_ff_tokens()[:FORCED_LIMIT]
        return self.allowed(tokens) if tokens else []

    def _error(self) -> GrammarError:
        return GrammarError(_reason(self._matcher.get_error()))


def allows_any(mask: Mask) -> bool:
    """Whether a mask allows a token at all."""
    return bool(mask.any())


def _packed(bits: NDArray[np.uint8]) -> Mask:
    return np.packbits(bits, bitorder="little").view(np.int32)


def _reason(message: str) -> str:
    """The first line of llguidance's message, without where in our own text it was; of a regex, what is wrong with it."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    line = lines[0] if lines else "it can't be followed"
    if line.endswith("regex parse error:"):
        line += next((more.removeprefix("error:") for more in lines if more.startswith("error:")), "")
    for noise in ("failed to compile JSON schema: ", "Parser Error: ", "Unimplemented keys: "):
        line = line.split(noise, 1)[-1] if noise in line else line
    return line[:300]
