"""The child that judges grammars: `python -I -m chatwright.grammar.worker_process MEMORY CPU_SECONDS TOKENIZER VOCABULARY EOS`.

It builds the grammar of a job and compiles it with the model's own tokenizer, as the engine will; it also validates answers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from chatwright.core.errors import ChatwrightError, InvalidGrammar, InvalidJsonSchema
from chatwright.grammar.blame import where
from chatwright.grammar.build import FORMAT_PARAM, Built, Part, alone, build
from chatwright.grammar.markup import Job
from chatwright.grammar.matcher import GrammarError, Vocabulary, allows_any
from chatwright.grammar.validation import problem
from chatwright.workers import child

RECURSION = 3_000
"""Frames: schemas of the greatest depth, in the validator."""


class Judge:
    """Answers jobs for one model's tokenizer."""

    def __init__(self, tokenizer: Path, vocab_size: int, eos: list[int]) -> None:
        self._vocabulary = Vocabulary(tokenizer.read_text(encoding="utf-8"), vocab_size, eos)

    def answer(self, frame: bytes) -> dict[str, Any]:
        """{"job": Job} to what is `Built`; {"schema", "text"} to {"problem"}; or an error."""
        try:
            payload = json.loads(frame)
            if "job" not in payload:
                return {"problem": problem(payload["schema"], payload["text"])}
            built = self.built(msgspec.convert(payload["job"], Job))
        except ChatwrightError as error:
            return {"code": error.code, "message": error.message, "param": error.param}
        except (RecursionError, MemoryError):
            message = "The grammar nests too deeply or is too large."
            return {"code": InvalidGrammar.code, "message": message, "param": FORMAT_PARAM}
        return {
            "source": built.source,
            "check": built.check,
            "checked": built.checked,
            "tool_checks": built.tool_checks,
        }

    def built(self, job: Job) -> Built:
        """The grammar of a job, compiled once. Raises InvalidJsonSchema or InvalidGrammar, naming the part at fault."""
        vocabulary = self._vocabulary
        strict = {tool.name: tool.strict for tool in job.tools}
        relaxed: frozenset[str] = frozenset()
        while True:
            built = build(job, vocabulary.special, vocabulary.eos_token_ids, relaxed)
            reason = self.reason(built.source) if built.source else ""
            if not reason:
                return built
            guilty = [(part, why) for part in built.parts if (why := self.reason(part.source))]
            loose = {part.tool for part, _ in guilty if part.tool and not strict[part.tool]} - relaxed
            if not loose:
                raise self._refusal(job, guilty, reason)
            relaxed |= loose

    def _refusal(self, job: Job, guilty: list[tuple[Part, str]], reason: str) -> ChatwrightError:
        if not guilty:
            kind = InvalidJsonSchema if job.format == "json_schema" else InvalidGrammar
            return kind(f"The answer's grammar can't be followed: {reason}.", param=FORMAT_PARAM)
        part, why = guilty[0]
        if part.grammar:
            return InvalidGrammar(f"The grammar can't be enforced: {why}.", param=part.param)
        path, why = self._where(part, why)
        return InvalidJsonSchema(f"At {path[:300]}: this can't be enforced: {why}.", param=part.param)

    def _where(self, part: Part, why: str) -> tuple[str, str]:
        """The innermost path at fault, and what is wrong there."""
        reasons = [why]

        def fails(schema: Any) -> bool:
            found = self.reason(alone(schema))
            reasons.extend([found] if found else [])
            return bool(found)

        return where(part.schema, fails), reasons[-1]

    def reason(self, source: str) -> str:
        """Why a grammar can't be followed, "" where it can."""
        try:
            matcher = self._vocabulary.compile(source)
            if not allows_any(matcher.mask()):
                return "it allows no text at all"
        except GrammarError as error:
            return str(error)
        return ""


def main(arguments: list[str]) -> None:
    """Load the tokenizer and everything lazily imported, then serve."""
    memory, cpu_seconds, path, vocab_size, eos = arguments
    made: list[Judge] = []

    def warm_up() -> None:
        judge = Judge(Path(path), int(vocab_size), [int(token) for token in eos.split(",") if token])
        judge.built(Job("json_schema", '{"type": "object", "properties": {"a": {"pattern": "^a"}}}'))
        problem(
            {"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {}}}, '{"a": 1}'
        )
        made.append(judge)

    sys.setrecursionlimit(RECURSION)
    answer = lambda frame: made[0].answer(frame)  # noqa: E731, PLW0108  made by warm_up
    child.serve(int(memory), warm_up, answer, float(cpu_seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
