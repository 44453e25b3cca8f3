"""The Deltas of one admitted request, and its one ending."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from time import perf_counter

import msgspec

from chatwright.accounts.ledger import EndStatus
from chatwright.core.chat import ChatRequest
from chatwright.core.deltas import ContextHandle, Delta, Finished, Started, TextDelta
from chatwright.core.engine import Engine
from chatwright.core.errors import BudgetExceeded, EngineFailed, InvalidGrammar, Overloaded
from chatwright.core.generation import GenerationRequest, TokenChunk, TokenLogprob
from chatwright.core.messages import Role
from chatwright.core.usage import Usage
from chatwright.service.admission import Admission
from chatwright.service.constraint import AnswerCheck, blamed
from chatwright.service.handoff import is_spent, nothing_more
from chatwright.service.keeping import Keeping
from chatwright.service.record import Observer, RequestRecord
from chatwright.service.shedding import Entrance
from chatwright.service.transcript import Transcript

Issue = Callable[[Sequence[int], Sequence[TokenLogprob]], ContextHandle | None]
"""Makes what lets another process continue after these sampled tokens, given what was reported of them; None where that
wasn't asked for."""


class Generation:
    """An async iterator of Deltas. Close it to abort; finished, failed or closed, even if never begun, its
    admission ends once.
    """

    def __init__(
        self,
        request: ChatRequest,
        engine: Engine,
        tokens: GenerationRequest,
        transcript: Transcript,
        admission: Admission,
        issue: Issue,
        record: RequestRecord,
        observer: Observer,
        check: AnswerCheck,
        entrance: Entrance,
        keeping: Keeping | None = None,
    ) -> None:
        self._request = request
        self._engine = engine
        self._tokens = tokens
        self._transcript = transcript
        self._admission = admission
        self._issue = issue
        self._record = record
        self._observer = observer
        self._check = check
        self._entrance = entrance
        self._keeping = keeping
        self._sampled: list[int] = []
        self._reported: list[TokenLogprob] = []
        self._usage = Usage()
        self._deltas = self._run()

    def __aiter__(self) -> AsyncGenerator[Delta]:
        return self._deltas

    def __anext__(self) -> Awaitable[Delta]:
        return self._deltas.__anext__()

    async def aclose(self) -> None:
        """Abort what still runs: the engine's iterator is closed, the tokens made so far are billed."""
        self._entrance.passed()
        await self._deltas.aclose()
        await self._end("aborted", self._usage)

    async def _run(self) -> AsyncGenerator[Delta]:
        """One generator from the engine's chunks to Deltas: each further one would cost every token."""
        generate = nothing_more if is_spent(self._tokens) else self._engine.generate
        transcript, chunks = self._transcript, generate(self._tokens)
        finished = False
        try:
            try:
                self._entrance.passed()  # no other task runs until the engine has it
                async for chunk in chunks:
                    first = not transcript.started
                    deltas = self._read(chunk)
                    if first:
                        await self._admission.first_token()
                    for delta in deltas:
                        if (
                            self._check.active
                        ):  # raises SchemaNotSatisfied instead of letting the client have it
                            await self._check.take(delta)
                        self._see(delta)
                        yield delta
                    if chunk.finish is not None or transcript.complete:
                        finished = True
                        break
            finally:  # else the engine would hear of an abort some time later
                await chunks.aclose()
            if not finished:
                raise EngineFailed("The engine ended its answer without saying why.")
            for delta in transcript.finish():
                if self._check.active:
                    await self._check.take(delta)
                self._see(delta)
                yield await self._finish(delta) if isinstance(delta, Finished) else delta
        except BaseException as ending:  # GeneratorExit and CancelledError: the client has gone
            await self._end(self._status_of(ending), self._counted())
            if isinstance(ending, InvalidGrammar):
                raise blamed(ending, self._request) from None
            raise

    def _read(self, chunk: TokenChunk) -> list[Delta]:
        """The Deltas that a chunk sets free; with the first one those that open the answer."""
        self._note(chunk)
        opening = [] if self._transcript.started else self._opening()
        deltas = self._transcript.feed(chunk)
        self._sampled += chunk.token_ids
        self._reported += chunk.logprobs
        return opening + deltas if opening else deltas

    def _see(self, delta: Delta) -> None:
        self._usage = delta.usage
        if self._keeping is not None:
            self._keeping.take(delta)

    async def _finish(self, delta: Finished) -> Finished:
        """The end is booked before the client hears of it."""
        status: EndStatus = "stopped" if isinstance(delta.stop_reason, str) else "finished"
        await self._end(status, delta.usage, delta.reason)
        return msgspec.structs.replace(delta, context=self._issue(self._sampled, self._reported))

    def _status_of(self, ending: BaseException) -> EndStatus:
        if isinstance(ending, Overloaded) and not self._transcript.started and self._engine.ready:
            self._entrance.refused(ending)
        if isinstance(ending, Overloaded | BudgetExceeded):
            return "refused"
        return "failed" if isinstance(ending, Exception) else "aborted"

    async def _end(self, status: EndStatus, usage: Usage, finish_reason: str | None = None) -> None:
        """Tell everybody, once."""
        record = self._record
        if record.status is None:
            record.status, record.usage, record.finish_reason = status, usage, finish_reason
            record.ended = perf_counter()
            self._observer.ended(record)
        kept = None if self._keeping is None or status == "refused" else self._keeping.content()
        await self._admission.end(status, usage, finish_reason, kept)

    def _note(self, chunk: TokenChunk) -> None:
        """Tell the observer of a chunk, then move the record's times on."""
        record = self._record
        record.queue_seconds = record.queue_seconds or chunk.queue_seconds
        self._observer.tokens(record, len(chunk.token_ids))
        record.last_token = perf_counter()
        if record.first_token is None:
            record.first_token = record.last_token

    def _counted(self) -> Usage:
        """What was made, as far as the engine told, whether or not it was shown."""
        if not self._transcript.started:
            return self._usage
        return msgspec.structs.replace(self._transcript.usage, reasoning_tokens=self._usage.reasoning_tokens)

    def _opening(self) -> list[Delta]:
        role = _role(self._request)
        usage = self._transcript.usage
        last = self._request.messages[-1]
        opening: list[Delta] = [Started(role, usage)]
        if self._request.output.echo and last.role == role and last.text:
            opening.append(TextDelta(last.text, usage))
        half, handoff = self._request.disaggregation, self._tokens.handoff
        if half is not None and handoff is not None and handoff.kind == "continuation":
            shown = self._transcript.resume(handoff.first_token_ids, handoff.first_logprobs)
            opening += shown if half.repeats_first else []
        return opening


def _role(request: ChatRequest) -> Role:
    """Who speaks (contract 3.3): without a generation prompt, whoever spoke last."""
    return "assistant" if request.prompt.add_generation_prompt else request.messages[-1].role
