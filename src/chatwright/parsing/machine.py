"""The way in: generated pieces to Deltas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import uuid4

import msgspec

from chatwright.core.chat import OutputOptions
from chatwright.core.deltas import Delta, Finished, FinishReason
from chatwright.core.generation import EngineFinish
from chatwright.core.messages import Tool
from chatwright.core.usage import Usage
from chatwright.parsing.channels import HeaderState
from chatwright.parsing.context import Context, State
from chatwright.parsing.format import Format
from chatwright.parsing.pieces import Piece
from chatwright.parsing.stop import StopFilter
from chatwright.parsing.text import TextState


def random_call_id(index: int, name: str) -> str:
    """The default id of a call: "chatcmpl-tool-" and 32 hex digits."""
    return f"chatcmpl-tool-{uuid4().hex}"


class OutputParser:
    """Parses one answer. Any split of its tokens into feeds gives the same message.

    `tools` are those the model may call; without them no call is looked for. `format` None means plain text. With
    `single_call` the answer is complete after its first call. `starts_in_reasoning`: the prompt ended inside a think block.
    Feed every generated token but one that only ends the sequence (EOS, stop id): its text is not part of the answer.
    """

    def __init__(
        self,
        options: OutputOptions,
        *,
        format: Format | None = None,  # noqa: A002
        tools: Sequence[Tool] = (),
        single_call: bool = False,
        min_tokens: int = 0,
        starts_in_reasoning: bool = False,
        new_call_id: Callable[[int, str], str] = random_call_id,
    ) -> None:
        self._context = Context(format, tools, new_call_id, single_call)
        self._stop = StopFilter(options, min_tokens)
        self._state: State = TextState(self._context, "reasoning" if starts_in_reasoning else "content")
        if self._context.format.channels is not None:
            self._state = HeaderState(self._context, self._context.format.channels)

    @property
    def stopped(self) -> str | None:
        """The stop string that matched."""
        return self._stop.matched

    @property
    def complete(self) -> bool:
        """Nothing further can change the answer: end the generation, then `finish`."""
        return self._stop.matched is not None or self._context.complete

    @property
    def tokens(self) -> int:
        """Tokens read, up to and with the one that made the answer complete."""
        return self._stop.tokens

    def feed(self, pieces: Sequence[Piece], usage: Usage) -> list[Delta]:
        """The Deltas that `pieces` set free. `usage` is the running count; its reasoning tokens are filled in here."""
        for piece in pieces:
            if self.complete:
                break
            self._context.tape.write(self._stop.push(piece))
            self._advance()
        return self._context.writer.drain(self._counted(usage))

    def finish(
        self, reason: EngineFinish, stop_token: int | None, usage: Usage, tail: str = ""
    ) -> list[Delta]:
        """Flush what is held and end with exactly one Finished.

        `reason` is the engine's (any, where `complete` made the caller abort it). `stop_token` is the stop id to report,
        None for EOS. `tail` is what the detokeniser flushes: text of tokens already fed.
        """
        if not self.complete:
            self._context.tape.write(self._stop.flush(tail))
            self._advance()
        natural = self.complete or reason == "stop"
        if not self._context.complete:
            in_markup = not isinstance(self._state, TextState)
            self._end(cut=not natural or (self._stop.matched is not None and in_markup))
        self._context.writer.flush()
        usage = self._counted(usage)
        finished = Finished(self._finish_reason(natural), self._stop_reason(reason, stop_token), usage)
        return [*self._context.writer.drain(usage), finished]

    def _advance(self) -> None:
        while not self._context.complete and (state := self._state.step()) is not None:
            self._state = state

    def _end(self, cut: bool) -> None:
        if self._context.tape.thinking:
            self._context.tape.reasoning_tokens += self._stop.removed_tokens
        while (state := self._state.finish(cut)) is not None:
            self._state = state
            self._advance()

    def _finish_reason(self, natural: bool) -> FinishReason:
        """length wins; tool_calls means there are calls and each is whole (contract 10.2)."""
        if not natural:
            return "length"
        return "tool_calls" if self._context.writer.calls and self._context.calls_whole else "stop"

    def _stop_reason(self, reason: EngineFinish, stop_token: int | None) -> str | int | None:
        if self._stop.matched is not None:
            return self._stop.matched
        return stop_token if reason == "stop" and not self._context.complete else None

    def _counted(self, usage: Usage) -> Usage:
        reasoning = self._context.tape.reasoning_tokens
        return msgspec.structs.replace(usage, reasoning_tokens=reasoning) if reasoning else usage
