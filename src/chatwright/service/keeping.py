"""What is kept of a request whose project wants prompts and answers kept."""

from __future__ import annotations

from chatwright.accounts.contents import MAX_CHARACTERS, Call, Content
from chatwright.core.deltas import Delta, ReasoningDelta, TextDelta, ToolCallDelta


class Keeping:
    """Collects an answer, as far as it comes. Holds at most what the store takes."""

    def __init__(self, prompt: str) -> None:
        """`prompt` is the text that the model read."""
        self._prompt = prompt
        self._texts: dict[str, list[str]] = {"answer": [], "reasoning": []}
        self._names: dict[int, str] = {}
        self._arguments: dict[int, list[str]] = {}
        self._room = MAX_CHARACTERS
        self._truncated = False

    def take(self, delta: Delta) -> None:
        """See a Delta before the client does."""
        if isinstance(delta, TextDelta):
            self._texts["answer"].append(self._fitting(delta.text))
        elif isinstance(delta, ReasoningDelta):
            self._texts["reasoning"].append(self._fitting(delta.text))
        elif isinstance(delta, ToolCallDelta):
            self._names.setdefault(delta.index, delta.name or "")
            self._arguments.setdefault(delta.index, []).append(self._fitting(delta.arguments))

    def content(self) -> Content:
        """What came so far."""
        calls = (Call(name, "".join(self._arguments[index])) for index, name in self._names.items())
        answer, reasoning = ("".join(self._texts[name]) for name in ("answer", "reasoning"))
        return Content(self._prompt, answer, reasoning, tuple(calls), self._truncated)

    def _fitting(self, text: str) -> str:
        kept = text[: self._room]
        self._room -= len(kept)
        self._truncated |= len(kept) < len(text)
        return kept
