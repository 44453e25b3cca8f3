"""Grammars inside the engine: compiled beside the loop, their masks made while the model runs, their forced tokens skipped ahead.

Where only one text can follow, its tokens are fixed as the tokenizer writes them and run through the model in one step, like an
accepted draft. They are fixed on any runner and under any load, so how far ahead they run never changes an answer.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from chatwright.core.errors import ChatwrightError, InternalError, InvalidGrammar
from chatwright.core.generation import GenerationRequest, ThinkingBudget
from chatwright.engines.batching.plan import Work
from chatwright.grammar.matcher import GrammarError, Mask, Matcher, Vocabulary

UNLIMITED = 1 << 30
KEPT_GRAMMARS = 64
"""Compiled ones that are kept; a copy of one costs microseconds."""


class Constraint:
    """Where one sequence stands in its grammar. `forced` tokens must come next, whatever the model says.

    Used by one thread at a time: the loop's, or that of the masks while the model runs.
    """

    def __init__(
        self, matcher: Matcher, *, ignore_eos: bool = False, thinking: ThinkingBudget | None = None
    ) -> None:
        """Raises GrammarError."""
        self._matcher = matcher
        self._ignore_eos = ignore_eos
        self._thinking = thinking
        self._start, self._end = (_Marker(tokens, matcher) for tokens in _markers(thinking))
        self._inside = thinking is not None and thinking.inside
        self._thought = 0
        self.forced: list[int] = matcher.forced() or self._end_of_thinking()
        self.error: BaseException | None = None
        """What went wrong; the sequence ends with it."""

    def accept(self, token: int) -> bool:
        """Take a generated token; True where the answer is whole and nothing can follow, or `error` is set."""
        try:
            return self._accept(token)
        except BaseException as error:  # a panic of the library isn't an Exception
            self.error = error
            return True

    def _accept(self, token: int) -> bool:
        self._matcher.accept([token])
        ahead = self.forced[1:] if self.forced and self.forced[0] == token else []
        done = self._matcher.complete
        self._think(token)
        self.forced = ahead if ahead or done else self._matcher.forced() or self._end_of_thinking()
        return done

    def _think(self, token: int) -> None:
        """Count the tokens between the markers."""
        budget = self._thinking
        if budget is None:
            return
        if self._end.seen(token):
            self._inside = False
            self._thinking = budget if budget.then else None
        elif self._start.seen(token):
            self._inside = not budget.then or bool(self._matcher.allowed(budget.end))
        elif self._inside:
            self._thought += 1

    def _end_of_thinking(self) -> list[int]:
        """The marker that is due once the budget is spent, at the first place where no character is left in halves."""
        budget = self._thinking
        if budget is None or not self._inside or self._thought < budget.max_tokens:
            return []
        ways = [[*budget.end, *then] for then in budget.then or ((),)]
        allowed = [self._matcher.allowed(way) for way in ways]
        best = next((way for way in ways if way in allowed), max(allowed, key=len))
        return best if len(best) >= len(budget.end) else []

    @property
    def foreseen(self) -> int:
        """How many guessed tokens may be tried without passing the end of the thinking budget."""
        budget = self._thinking
        if budget is None:
            return UNLIMITED
        return max(0, budget.max_tokens - self._thought - 1) if self._inside else 0

    def masks(self, draft: list[int]) -> list[Mask | None]:
        """One for each draft token and one for the token after them; what `forced` says is all that is allowed."""
        if not self.forced:
            return [self._open(mask) for mask in self._matcher.masks(draft)]
        only = self._matcher.vocabulary.only
        masks: list[Mask | None] = [only(token) for token in self.forced[: len(draft) + 1]]
        if len(masks) <= len(draft):
            masks += [self._open(self._matcher.masks(draft)[-1])]
        return masks

    def forced_in(self, draft: list[int]) -> int:
        """How many tokens of a draft, from its first on, are forced."""
        return len(draft) if draft and draft == self.forced[: len(draft)] else 0

    def _open(self, mask: Mask | None) -> Mask | None:
        """Under ignore_eos an answer ends only where its grammar does."""
        if mask is None or not self._ignore_eos:
            return mask
        without: Mask = mask & ~self._matcher.vocabulary.eos_mask
        return without if without.any() else mask


class _Marker:
    """A marker in the tokens of one answer: by its id, or by its text where it has several, which a model may cut otherwise."""

    def __init__(self, tokens: tuple[int, ...], matcher: Matcher) -> None:
        self._tokens = tokens
        self._tokenizer = matcher.vocabulary.tokenizer
        self._text = self._tokenizer.decode_bytes(list(tokens)) if len(tokens) > 1 else b""
        self._tail = b""

    def seen(self, token: int) -> bool:
        """Whether it is complete with this token."""
        if not self._text:
            return self._tokens == (token,)
        self._tail += self._tokenizer.decode_bytes([token])
        found = self._text in self._tail
        self._tail = b"" if found else self._tail[1 - len(self._text) :]
        return found


def _markers(thinking: ThinkingBudget | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (thinking.start, thinking.end) if thinking is not None else ((), ())


Masks = dict[str, list[Mask | None]]
"""By sequence: see `Constraint.masks`."""


class Constraints:
    """Compiles grammars and makes masks, each on a thread of its own. Both release the interpreter lock for their work."""

    def __init__(self, load: Callable[[], Vocabulary]) -> None:
        """`load` is called once, on the compiler's thread; what it raises fails the request."""
        self._load = load
        self._vocabulary: Vocabulary | None = None
        self._compiled: OrderedDict[bytes, Matcher] = OrderedDict()
        self._lock = threading.Lock()
        self._compiler = ThreadPoolExecutor(1, "grammar-compiler")
        self._masker = ThreadPoolExecutor(1, "grammar-masks")

    def warm_up(self) -> None:
        """Begin to read the tokenizer."""
        self._compiler.submit(self._vocabulary_of)

    def _vocabulary_of(self) -> Vocabulary:
        with self._lock:
            self._vocabulary = self._vocabulary or self._load()
            return self._vocabulary

    def compile(
        self, request: GenerationRequest, then: Callable[[Constraint | ChatwrightError], None]
    ) -> None:
        """Compile a request's grammar elsewhere and call `then` there with what came of it."""
        self._compiler.submit(lambda: then(self._constraint(request)))

    def _constraint(self, request: GenerationRequest) -> Constraint | ChatwrightError:
        assert request.grammar is not None
        try:
            matcher = self._matcher(request.grammar.source)
            constraint = Constraint(
                matcher, ignore_eos=request.sampling.ignore_eos, thinking=request.thinking
            )
            for token in request.handoff.first_token_ids if request.handoff is not None else ():
                if constraint.accept(token) and constraint.error is not None:
                    return refusal(constraint.error)
        except GrammarError as error:
            return refusal(error)
        except BaseException as error:  # one request fails, not the thread
            return InternalError(f"The grammar could not be compiled: {type(error).__name__}.")
        return constraint

    def _matcher(self, source: str) -> Matcher:
        key = hashlib.sha256(source.encode()).digest()
        found = self._compiled.get(key)
        if found is None:
            found = self._vocabulary_of().compile(source)
            found.mask()  # fills the lexer's tables, which copies share
            self._compiled[key] = found
        self._compiled.move_to_end(key)
        while len(self._compiled) > KEPT_GRAMMARS:
            self._compiled.popitem(last=False)
        return found.fork()

    def begin(self, work: Iterable[Work]) -> Future[Masks] | None:
        """Start on the masks of a step; None where it has no constrained sequence."""
        ends = [
            (item.sequence.id, item.sequence.constraint, item.draft)
            for item in work
            if item.samples and item.sequence.constraint is not None
        ]
        return self._masker.submit(_masks, ends) if ends else None

    def close(self) -> None:
        """End the threads once they are idle."""
        self._compiler.shutdown(wait=False, cancel_futures=True)
        self._masker.shutdown(wait=False, cancel_futures=True)


def _masks(ends: list[tuple[str, Constraint, list[int]]]) -> Masks:
    """A constraint that fails keeps its error, for `refusal`; the others don't notice."""
    masks: Masks = {}
    for sequence_id, constraint, draft in ends:
        try:
            masks[sequence_id] = constraint.masks(draft)
        except BaseException as error:  # a panic of the library isn't an Exception
            constraint.error = error
    return masks


def refusal(error: BaseException) -> ChatwrightError:
    """What the client hears of a grammar that gave up on the way: its own fault where it passed its budget."""
    if not isinstance(error, GrammarError):
        return InternalError(f"The grammar could not be followed: {type(error).__name__}.")
    return InvalidGrammar(f"The grammar can't be followed any further: {error}.", param="response_format")
