"""What a request's answer must obey, compiled and judged before the request is admitted. Never on the event loop."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from chatwright.core.errors import InvalidGrammar, InvalidJsonSchema, InvalidRequest, SchemaNotSatisfied
from chatwright.core.generation import Grammar
from chatwright.grammar.markup import Job
from chatwright.workers.pool import ANSWER_OVERHEAD, PoolLimits, Subject, WorkerPool, error_of

CHILD = "chatwright.grammar.worker_process"
MAX_ANSWER = 8 * 2**20
"""Bytes of a compiled grammar."""
CACHED = 256
CACHED_BYTES = 32 * 2**20
LIMITS = PoolLimits(total_seconds=10.0, run_seconds=8.0, cpu_seconds=1.4, memory_bytes=2 * 2**30, workers=2)


def _subject(job: Job) -> Subject:
    """Whom to blame where a job passes its budget."""
    if job.format == "json_schema" and not job.must_call:
        return Subject("schema", "response_format", InvalidJsonSchema)
    if job.format in ("grammar", "structural_tag") and not job.must_call:
        return Subject("grammar", "response_format", InvalidGrammar)
    return Subject("grammar of these tools", "tools", InvalidJsonSchema)


class Compiled(msgspec.Struct, frozen=True):
    """`grammar` None: nothing is constrained. `check` is the schema that the finished answer must be validated against,
    `tool_checks` are those for the arguments of calls, by the tool's name. `checked` are the keywords that need it.
    """

    grammar: Grammar | None
    check: Any = None
    tool_checks: dict[str, Any] = {}
    checked: tuple[str, ...] = ()


class GrammarCompiler(WorkerPool):
    """Workers that hold one model's tokenizer. Verdicts are kept by content: the compiled grammar, or the refusal."""

    def __init__(
        self, tokenizer: Path, vocab_size: int, eos_token_ids: Sequence[int], limits: PoolLimits = LIMITS
    ) -> None:
        super().__init__(limits, Subject("schema or grammar", "response_format", InvalidGrammar))
        self._arguments = (str(tokenizer), str(vocab_size), ",".join(map(str, eos_token_ids)))
        self._cache: OrderedDict[bytes, tuple[Compiled | InvalidRequest, int]] = OrderedDict()
        self._cached_bytes = 0

    def _command(self) -> Sequence[str]:
        limits = self._limits
        return CHILD, str(limits.memory_bytes), str(limits.cpu_seconds or 0), *self._arguments

    async def start(self) -> None:
        """Open the pool and begin starting a worker, since that takes longer than most jobs."""
        await super().start()
        self._keep_ready(1)

    async def compile(self, job: Job) -> Compiled:
        """Raises InvalidJsonSchema or InvalidGrammar with the path at fault, Overloaded where no worker came free."""
        if job.format == "text" and not (job.tools or job.uncallable or job.limits_thinking):
            return Compiled(None)
        key = hashlib.sha256(msgspec.msgpack.encode(job)).digest()
        verdict = self._recall(key)
        if verdict is None:
            verdict = await self._judge(job)
            self._keep(key, verdict)
        if isinstance(verdict, InvalidRequest):
            raise type(verdict)(verdict.message, param=verdict.param)
        return verdict

    async def validate(self, schema: Any, text: str, param: str = "response_format") -> None:
        """Hold a finished answer, or a call's arguments, to its schema. Raises SchemaNotSatisfied, naming `param`."""
        try:
            answer = await self.run({"schema": schema, "text": text}, ANSWER_OVERHEAD)
            problem = answer["problem"]
        except InvalidGrammar as error:  # the check passed its budget: fail closed
            problem = error.message
        if problem is not None:
            raise SchemaNotSatisfied(
                "The answer doesn't obey the schema, in a keyword that can only be checked once it is whole"
                f" ({problem}). Ask again, or leave that keyword out.",
                param=param,
            )

    async def _judge(self, job: Job) -> Compiled | InvalidRequest:
        """A verdict that comes again; a passed budget, which may not, is raised."""
        answer = await self.attempt({"job": job}, MAX_ANSWER, _subject(job))
        if "code" in answer:
            error = error_of(answer)
            if isinstance(error, InvalidRequest):
                return error
            raise error
        grammar = Grammar("llguidance", answer["source"]) if answer["source"] else None
        return Compiled(grammar, answer["check"], answer["tool_checks"], tuple(answer["checked"]))

    def _recall(self, key: bytes) -> Compiled | InvalidRequest | None:
        if key not in self._cache:
            return None
        self._cache.move_to_end(key)
        return self._cache[key][0]

    def _keep(self, key: bytes, verdict: Compiled | InvalidRequest) -> None:
        size = 1024
        if isinstance(verdict, Compiled) and verdict.grammar is not None:
            size += 2 * len(verdict.grammar.source)
        self._cache[key] = (verdict, size)
        self._cached_bytes += size
        while len(self._cache) > CACHED or self._cached_bytes > CACHED_BYTES:
            _, (_, freed) = self._cache.popitem(last=False)
            self._cached_bytes -= freed
