"""From an engine's token chunks to Deltas: detokenise, report logprobs, parse, count."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatwright.core.chat import ChatRequest
from chatwright.core.deltas import Delta, LogprobEntry
from chatwright.core.generation import TokenChunk, TokenLogprob
from chatwright.core.usage import Usage
from chatwright.parsing.machine import OutputParser
from chatwright.parsing.pieces import Piece
from chatwright.service.model import ServedModel
from chatwright.service.prompt import visible_tools
from chatwright.tokenization.incremental import IncrementalDetokenizer
from chatwright.tokenization.tokenizer import Tokenizer


class Transcript:
    """The text side of one generation. Feed it chunks until it is `complete` or the engine has finished.

    `usage` counts every sampled token up to where the answer is complete.
    """

    def __init__(
        self, request: ChatRequest, model: ServedModel, prompt_text: str, prompt_tokens: int
    ) -> None:
        self._tokenizer = model.tokenizer
        self._options = request.output
        self._wants_logprobs = request.sampling.logprobs is not None
        self._detokenizer = IncrementalDetokenizer(
            model.tokenizer, skip_special_tokens=request.output.skip_special_tokens
        )
        self._parser = OutputParser(
            request.output,
            format=model.format,
            tools=visible_tools(request),
            single_call=not request.parallel_tool_calls,
            min_tokens=request.sampling.min_tokens,
            starts_in_reasoning=model.format is not None and model.format.starts_in_reasoning(prompt_text),
        )
        self._prompt_tokens = prompt_tokens
        self._sampled = 0
        self._cached = 0
        self._accepted = 0
        self._rejected = 0
        self._last: TokenChunk | None = None

    @property
    def started(self) -> bool:
        """The engine has made something."""
        return self._last is not None

    @property
    def complete(self) -> bool:
        """Nothing the engine could still make belongs to the answer."""
        return self._parser.complete

    @property
    def usage(self) -> Usage:
        """Counts so far; reasoning tokens are added by the parser."""
        return Usage(
            self._prompt_tokens,
            self._sampled,
            cached_tokens=self._cached,
            accepted_prediction_tokens=self._accepted,
            rejected_prediction_tokens=self._rejected,
        )

    def resume(self, token_ids: Sequence[int], logprobs: Sequence[TokenLogprob]) -> list[Delta]:
        """Take up an answer whose first tokens another process sampled; they are read but not counted here."""
        if not (self._wants_logprobs and logprobs):
            pieces = [Piece(piece.text, piece.special) for piece in map(self._detokenizer.feed, token_ids)]
        else:
            chunk = TokenChunk(tuple(token_ids), tuple(logprobs))
            pieces = [self._piece(chunk, index) for index in range(len(logprobs))]
        return self._parser.feed(pieces, self.usage)

    def feed(self, chunk: TokenChunk) -> list[Delta]:
        """The Deltas that a step's tokens set free."""
        self._last = chunk
        self._cached += chunk.cached_tokens
        self._accepted += chunk.accepted_draft_tokens
        self._rejected += chunk.rejected_draft_tokens
        shown = len(chunk.token_ids)
        if chunk.stop_token is not None and not self._options.include_stop:
            shown -= 1  # it only ends the answer: no text, no logprobs
        pieces = [self._piece(chunk, index) for index in range(shown)]
        before = self._parser.tokens
        self._sampled += len(chunk.token_ids)
        deltas = self._parser.feed(pieces, self.usage)
        used = self._parser.tokens - before
        if self._parser.complete and used < len(chunk.token_ids):
            self._give_back(chunk, used)
            deltas = [self._recounted(delta) for delta in deltas]
        return deltas

    def _give_back(self, chunk: TokenChunk, used: int) -> None:
        """Of the chunk that completed the answer only the first `used` tokens are part of it; its drafts come first."""
        self._sampled -= len(chunk.token_ids) - used
        dropped = max(0, chunk.accepted_draft_tokens - used)
        self._accepted -= dropped
        self._rejected += dropped

    def _recounted(self, delta: Delta) -> Delta:
        usage = msgspec.structs.replace(self.usage, reasoning_tokens=delta.usage.reasoning_tokens)
        return msgspec.structs.replace(delta, usage=usage)

    def finish(self) -> list[Delta]:
        """Flush; the last Delta is Finished. Call once, after the last `feed`."""
        chunk = self._last
        assert chunk is not None
        stop_token = None if chunk.stop_token_is_eos else chunk.stop_token
        tail = "" if self._parser.complete else self._detokenizer.flush()
        return self._parser.finish(chunk.finish or "stop", stop_token, self.usage, tail)

    def _piece(self, chunk: TokenChunk, index: int) -> Piece:
        piece = self._detokenizer.feed(chunk.token_ids[index])
        entry = None
        if chunk.logprobs:
            ending = chunk.stop_token is not None and index == len(chunk.token_ids) - 1
            if not (ending and piece.special and self._options.skip_special_tokens):
                entry = logprob_entry(chunk.logprobs[index], self._tokenizer)
        return Piece(piece.text, piece.special, entry)


def logprob_entry(logprob: TokenLogprob, tokenizer: Tokenizer) -> LogprobEntry:
    """A token's report with its text and true bytes, alternatives likewise (contract 10.4)."""
    top = tuple(_entry(token, value, tokenizer) for token, value in logprob.top)
    return _entry(logprob.token_id, logprob.logprob, tokenizer, top)


def _entry(
    token: int, logprob: float, tokenizer: Tokenizer, top: tuple[LogprobEntry, ...] = ()
) -> LogprobEntry:
    data = tokenizer.token_bytes(token)
    return LogprobEntry(tokenizer.token_text(token), logprob, None if data is None else tuple(data), top)
