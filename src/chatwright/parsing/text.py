"""Plain text and thinking: everything outside a call."""

from __future__ import annotations

from typing import Literal

from chatwright.parsing.call import CallState, opens
from chatwright.parsing.context import Context, State
from chatwright.parsing.markers import CUT_MARKER_LENGTH, WHITESPACE, find_marker, spaces

HELD_WHITESPACE = 1024
"""At most this much whitespace waits for what follows it; more is passed on."""


class TextState:
    """Content or reasoning, up to the next marker.

    Whitespace that borders on markup is not part of the answer: it waits until text follows. An answer that knows
    neither tools nor thinking is passed on untouched. Think markers count only before the first visible content, so that
    an answer about them keeps them.
    """

    def __init__(
        self,
        context: Context,
        kind: Literal["content", "reasoning"],
        *,
        trim: bool = False,
        after_call: bool = False,
    ) -> None:
        self.context = context
        self.kind = kind
        self._trim = trim or kind == "reasoning" or (after_call and not context.content_seen)
        self._after_call = after_call
        self._held = ""
        self._bare = context.format.bare and kind == "content" and not after_call
        self._plain = kind == "content" and not context.tools and context.reasoning is None and not self._trim
        context.tape.thinking = kind == "reasoning"

    def step(self) -> State | None:
        """Write all that can't be a marker, then go where the marker leads."""
        tape = self.context.tape
        if self._plain:
            self._emit(tape.take(tape.unread))
            return None
        while tape.unread:
            if self._at_bare_call():
                return CallState(self, "", bare=True)
            start, marker = find_marker(tape.text, tape.at, self._markers())
            if start > tape.at:
                self.write(tape.take(start - tape.at))
            elif not marker:
                return None
            else:
                state = self._enter(marker)
                if state is not None:
                    return state
        return None

    def finish(self, cut: bool) -> State | None:
        """Show what was held; not half a marker where the answer is cut inside it."""
        tape = self.context.tape
        rest = tape.text[tape.at :]
        is_markup = len(rest) >= CUT_MARKER_LENGTH
        is_markup = is_markup and any(marker.startswith(rest) for marker in self._markers())
        shown = tape.take_rest()
        if not (cut and is_markup):
            self.write(shown)
        if not self._after_call:
            self.context.writer.text(self.kind, self._held)
        self._held = ""
        return None

    def write(self, text: str) -> None:
        """Pass `text` on, but for whitespace that may border on markup."""
        text = self._held + text
        if not self._holds():
            self._held = ""
            self._emit(text)
            return
        if self._trim:
            text = text.lstrip(WHITESPACE)
        solid = len(text.rstrip(WHITESPACE))
        if solid:
            self._trim = self._after_call = False
        self._held = text[max(solid, len(text) - HELD_WHITESPACE) :]
        self._emit(text[: len(text) - len(self._held)])

    def after_call(self) -> TextState:
        """Back to the same kind of text."""
        return TextState(self.context, self.kind, after_call=True)

    def refuse_bare(self) -> None:
        """What looked like a call without markers was none: look for no other."""
        self._bare = False

    def _emit(self, text: str) -> None:
        if self.kind == "content" and not self.context.content_seen and text.strip(WHITESPACE):
            self.context.content_seen = True
        self.context.writer.text(self.kind, text)

    def _holds(self) -> bool:
        if self.kind == "reasoning" or self.context.tools or self._trim:
            return True
        return self.context.reasoning is not None and not self.context.content_seen

    def _markers(self) -> tuple[str, ...]:
        think = self.context.reasoning
        markers = self._call_markers()
        if markers:
            markers += self.context.format.ignored
        if think is None:
            return markers
        if self.kind == "reasoning":
            return (think.end, think.start, *markers) if self._trim else (think.end, *markers)
        return markers if self.context.content_seen else (think.start, think.end, *markers)

    def _call_markers(self) -> tuple[str, ...]:
        think = self.context.reasoning
        if not self.context.tools or (self.kind == "reasoning" and not (think and think.ends_at_call)):
            return ()
        return self.context.format.begins

    def _enter(self, marker: str) -> State | None:
        """Act on the marker the tape stands at; None to stay in this state."""
        context, think = self.context, self.context.reasoning
        if marker in self._call_markers():
            return CallState(self, marker)
        if think is not None and marker == think.start:
            context.tape.thinking = True
        context.tape.take(len(marker), marker=True)
        if (
            think is None
            or marker not in (think.start, think.end)
            or (marker == think.start and self.kind == "reasoning")
        ):
            return None
        if marker == think.start:
            return TextState(context, "reasoning")
        return TextState(context, "content", trim=True)

    def _at_bare_call(self) -> bool:
        """Whether a call without marker may begin here, at the start of the answer."""
        tape = self.context.tape
        if not self._bare or not self.context.tools or self.context.content_seen:
            return False
        if blank := spaces(tape.text, tape.at):
            self.write(tape.take(blank))
        char = "" if tape.special_at() == tape.at else tape.char()
        return bool(char) and any(opens(body, char) for body in self.context.format.bodies)
