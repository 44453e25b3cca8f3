"""Answers as they came over the wire, whole and streamed, with names for what checks look at."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx


class Unanswered(Exception):
    """A request that should have been answered was not. `status` is what came instead, `text` its body."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"answered {status}: {text[:160]}")
        self.status = status
        self.text = text

    @property
    def unsupported(self) -> str | None:
        """The field that the server says it can't honour, in a 400 `unsupported_parameter` that names it; else None."""
        try:
            error = json.loads(self.text)["error"]
            named = error["code"] == "unsupported_parameter" and error["param"] in error["message"]
        except (ValueError, LookupError, TypeError):
            return None
        return str(error["param"]) if named and self.status == 400 else None


@dataclass(frozen=True)
class Answer:
    """A whole answer. Members that are missing raise KeyError, which the runner reports as a wrong shape."""

    body: dict[str, Any]
    headers: httpx.Headers

    @property
    def choice(self) -> dict[str, Any]:
        """The only choice."""
        found: dict[str, Any] = self.body["choices"][0]
        return found

    @property
    def message(self) -> dict[str, Any]:
        """Its message."""
        found: dict[str, Any] = self.choice["message"]
        return found

    @property
    def content(self) -> str:
        """Its text, empty for null."""
        return self.message.get("content") or ""

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Its tool calls."""
        return self.message.get("tool_calls") or []

    @property
    def finish(self) -> str | None:
        """finish_reason."""
        found: str | None = self.choice["finish_reason"]
        return found

    @property
    def stop_reason(self) -> int | str | None:
        """stop_reason, None also where the server has no such member."""
        found: int | str | None = self.choice.get("stop_reason")
        return found

    @property
    def logprobs(self) -> list[dict[str, Any]]:
        """The entries of its tokens, none where there are none."""
        return (self.choice.get("logprobs") or {}).get("content") or []

    @property
    def usage(self) -> dict[str, Any]:
        """Token counts."""
        found: dict[str, Any] = self.body["usage"]
        return found

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt."""
        return int(self.usage["prompt_tokens"])

    @property
    def completion_tokens(self) -> int:
        """Tokens that were generated."""
        return int(self.usage["completion_tokens"])


@dataclass
class Stream:
    """A stream that was read to its end."""

    headers: httpx.Headers
    chunks: list[dict[str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """All lines but blank ones, as they came."""

    @classmethod
    def read(cls, response: httpx.Response) -> Stream:
        """Read what is left of the response."""
        stream = cls(response.headers)
        for line in response.iter_lines():
            if line:
                stream.lines.append(line)
            data = line.removeprefix("data:").strip()
            if line.startswith("data:") and data != "[DONE]":
                stream.chunks.append(json.loads(data))
        return stream

    @property
    def choices(self) -> list[dict[str, Any]]:
        """The choice of each chunk that has one."""
        return [chunk["choices"][0] for chunk in self.chunks if chunk.get("choices")]

    @property
    def deltas(self) -> list[str]:
        """The text of each of them."""
        return [choice["delta"].get("content") or "" for choice in self.choices]

    @property
    def content(self) -> str:
        """The texts joined."""
        return "".join(self.deltas)

    @property
    def logprobs(self) -> list[dict[str, Any]]:
        """The entries of all tokens."""
        return [
            entry for choice in self.choices for entry in (choice.get("logprobs") or {}).get("content") or []
        ]

    @property
    def finishes(self) -> list[tuple[str, int | str | None]]:
        """finish_reason and stop_reason of each chunk that ends the answer; there should be one."""
        return [(c["finish_reason"], c.get("stop_reason")) for c in self.choices if c.get("finish_reason")]

    @property
    def call_deltas(self) -> list[dict[str, Any]]:
        """All fragments of tool calls, in order."""
        return [piece for choice in self.choices for piece in choice["delta"].get("tool_calls") or []]
