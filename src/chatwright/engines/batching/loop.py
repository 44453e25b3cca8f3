"""The engine's heart: drain the inbox, schedule, forward, sample, emit; one thread, for ever.

Only `submit`, `abort` and `stats` may be called from other threads.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import msgspec
import numpy as np

from chatwright.core.engine import EngineStats
from chatwright.core.errors import (
    ChatwrightError,
    DeadlineExceeded,
    EngineFailed,
    InvalidValue,
)
from chatwright.core.generation import GenerationRequest, TokenChunk
from chatwright.engines.batching import acceptance
from chatwright.engines.batching.backlog import Backlog
from chatwright.engines.batching.batch import build, drafts_of, forced_in
from chatwright.engines.batching.constraint import Constraint, Constraints, Masks, refusal
from chatwright.engines.batching.endings import chunk_of, ending
from chatwright.engines.batching.handoff import Context, KvSpool, context_for, keep
from chatwright.engines.batching.plan import Work
from chatwright.engines.batching.runner import Runner, StepLogits
from chatwright.engines.batching.scheduler import Scheduler, SchedulerLimits
from chatwright.engines.batching.sequence import Sequence
from chatwright.engines.batching.sink import Sink
from chatwright.engines.batching.speculation import Drafter, SpeculationLimits
from chatwright.engines.room import Room
from chatwright.sampling.sequence import SequenceSampler
from chatwright.sampling.verify import Verified, verify

NOTHING_TO_DRAW = "The model gave no token that may be drawn."


class LoopLimits(msgspec.Struct, frozen=True):
    """Bounds of one engine: what waits (requests and prompt tokens), and what runs."""

    max_waiting: int = 256
    max_waiting_tokens: int = 1_000_000
    scheduler: SchedulerLimits = SchedulerLimits()
    speculation: SpeculationLimits = SpeculationLimits()

    def __post_init__(self) -> None:
        """Raises ValueError where nothing could ever be queued."""
        if self.max_waiting < 1 or self.max_waiting_tokens < 1:
            raise ValueError("max_waiting and max_waiting_tokens must be at least 1")


class EngineLoop:
    """Continuous batching over one runner. `clock` gives Unix time for deadlines, `timer` seconds for step times."""

    def __init__(
        self,
        runner: Runner,
        limits: LoopLimits,
        sink: Sink,
        *,
        sentence_ends: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None,
        spool: KvSpool | None = None,
        constraints: Constraints | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.runner = runner
        self.limits = limits
        self.scheduler = Scheduler(runner.info, limits.scheduler)
        self._sink = sink
        self._sentence_ends = sentence_ends
        self._spool = spool
        self._constraints = constraints
        self._compiling: dict[str, GenerationRequest] = {}
        self._clock = clock
        self._timer = timer
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._sequences: dict[str, Sequence] = {}
        self._backlog = Backlog(limits.max_waiting, limits.max_waiting_tokens)
        self._counts = dict.fromkeys(
            ("steps", "generated_tokens", "prompt_tokens", "cached_tokens", "aborted"), 0
        )
        self._speculates = limits.speculation.enabled and runner.info.recomputes
        self._thread = threading.Thread(target=self._run, name="engine-loop", daemon=True)

    # -- from other threads -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin stepping."""
        self._thread.start()
        if self._constraints is not None:
            self._constraints.warm_up()

    def stop(self) -> None:
        """Stop after the step that runs; what is unfinished gets no further output."""
        self._backlog.close(EngineFailed("The engine was stopped."))
        self._inbox.put(None)
        if self._thread.ident is not None:
            self._thread.join()
        if self._constraints is not None:
            self._constraints.close()

    def submit(self, request: GenerationRequest) -> None:
        """Queue a request. Raises Overloaded at once where too much waits already, EngineFailed where the loop has
        ended, InvalidRequest where this runner can never serve it.
        """
        acceptance.check(
            request,
            self.runner.info,
            hands_off=self._spool is not None,
            constrains=self._constraints is not None,
        )
        context = context_for(request, self._spool)
        self._backlog.enter(request)
        self._inbox.put(lambda: self._admit(request, context))

    def abort(self, request_id: str) -> None:
        """Stop a request before the next step; unknown ids are fine."""
        self._inbox.put(lambda: self._drop(request_id))

    @property
    def room(self) -> Room:
        """How full the waiting room is."""
        return self._backlog.room

    def stats(self) -> EngineStats:
        """A reading that may be one step old."""
        scheduler, pool = self.scheduler, self.scheduler.pool
        return EngineStats(
            running=len(scheduler.running),
            waiting=self._backlog.requests,
            waiting_tokens=self._backlog.tokens,
            kv_blocks_used=pool.used,
            kv_blocks_total=pool.count,
            preemptions=scheduler.preemptions,
            **self._counts,
        )

    # -- the loop's thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self.drain(wait=self.idle):
                self.step()
        except Exception as error:  # whatever it is, waiting clients must hear of it
            self._backlog.close(EngineFailed(f"The engine stopped: {type(error).__name__}: {error}"))
            self._sink.died(error)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to step for."""
        return not self._sequences

    def drain(self, *, wait: bool) -> bool:
        """Take in what arrived; `wait` sleeps until something does. False: stop."""
        while True:
            try:
                command = self._inbox.get(block=wait)
            except queue.Empty:
                return True
            if command is None:
                return False
            command()
            wait = False

    def _admit(self, request: GenerationRequest, context: Context | None) -> None:
        """Add a request, after its grammar has been compiled elsewhere."""
        if request.grammar is None or self._constraints is None:
            self._add(request, context)
            return
        self._compiling[request.id] = request
        self._constraints.compile(
            request, lambda made: self._inbox.put(lambda: self._compiled(request, context, made))
        )

    def _compiled(
        self, request: GenerationRequest, context: Context | None, made: Constraint | ChatwrightError
    ) -> None:
        if request.id not in self._compiling:
            return  # aborted meanwhile
        del self._compiling[request.id]
        if isinstance(made, Constraint):
            self._add(request, context, made)
            return
        self._backlog.leave(request, started=False)
        self._sink.failure(request.id, made)

    def _add(
        self, request: GenerationRequest, context: Context | None = None, constraint: Constraint | None = None
    ) -> None:
        try:
            sampler = SequenceSampler(
                request.sampling, request.prompt_token_ids, self.runner.info.vocab_size, self._sentence_ends
            )
        except ValueError as error:
            self._backlog.leave(request, started=False)
            self._sink.failure(request.id, InvalidValue(f"The request can't be sampled: {error}."))
            return
        sequence = Sequence(request, sampler, self._clock())
        if context is not None and request.handoff is not None:
            sequence.resume(context.computed, context.kv, request.handoff.first_token_ids)
        sequence.constraint = constraint
        if self._speculates:
            sequence.drafter = Drafter(sequence.token_ids, request.draft_token_ids, self.limits.speculation)
        self._sequences[request.id] = sequence
        self.scheduler.add(sequence)
        self._guess(sequence)

    def _drop(self, request_id: str) -> None:
        request = self._compiling.pop(request_id, None)
        if request is not None:
            self._counts["aborted"] += 1
            self._backlog.leave(request, started=False)
        sequence = self._sequences.get(request_id)
        if sequence is not None:
            self._counts["aborted"] += 1
            self._end(sequence)

    def _end(self, sequence: Sequence) -> None:
        del self._sequences[sequence.id]
        self.scheduler.finish(sequence)
        self._backlog.leave(sequence.request, started=sequence.started)

    def step(self) -> None:
        """One step of the whole batch."""
        for sequence in self.scheduler.expired(self._clock()):
            self._end(sequence)
            self._sink.failure(
                sequence.id, DeadlineExceeded("The request's deadline passed while it waited for the engine.")
            )
        plan = self.scheduler.schedule()
        for sequence, blocks in plan.saves:
            sequence.saved_kv = self.runner.export_blocks(blocks)
        for sequence in plan.restores:
            assert sequence.saved_kv is not None
            saved = self.scheduler.pool.blocks_for(sequence.saved_computed)
            self.runner.import_blocks(sequence.blocks[:saved], sequence.saved_kv)
            sequence.saved_kv, sequence.saved_computed = None, 0
        if not plan.work:
            return
        began = self._timer()
        making = self._constraints.begin(plan.work) if self._constraints is not None else None
        logits = self.runner.forward(build(plan.work))
        self._book(plan.work, self._timer() - began)
        items = self._choose(plan.work, logits, making.result() if making is not None else {})
        if items:
            self._sink.outputs(items)

    def _book(self, work: list[Work], seconds: float) -> None:
        prompt = sum(item.count for item in work if item.prefill)
        rows = sum((not item.prefill) + len(item.draft) for item in work)
        self.scheduler.pace.observe(rows, prompt, seconds)
        self._counts["steps"] += 1
        self._backlog.observe(prompt, seconds)
        for sequence in [item.sequence for item in work if not item.sequence.started]:
            sequence.started = True
            sequence.queue_seconds = max(0.0, self._clock() - seconds - sequence.arrival)
            self._backlog.start(sequence.request)
            self._counts["cached_tokens"] += sequence.cached

    def _choose(self, work: list[Work], logits: StepLogits, masks: Masks) -> list[tuple[str, TokenChunk]]:
        """Sample every sequence that is at its end; returns what is new."""
        ends = [item for item in work if item.samples]
        for item in work:
            if not item.samples:
                self._counts["prompt_tokens"] += self.scheduler.advance(item, [])
        if not ends:
            return []
        results = verify(drafts_of(ends, masks), logits)
        chunks = [self._take(item, result) for item, result in zip(ends, results, strict=True)]
        return [chunk for chunk in chunks if chunk is not None]

    def _take(self, item: Work, result: Verified) -> tuple[str, TokenChunk] | None:
        """Give a sequence its new tokens and see whether it ends."""
        sequence = item.sequence
        forced = forced_in(item)
        end = ending(sequence, result.tokens)
        tokens = result.tokens[: end.kept]
        chunk = chunk_of(item, result, end, forced)
        self._counts["generated_tokens"] += end.kept
        self._counts["prompt_tokens"] += self.scheduler.advance(item, tokens)
        if end.finish is None and not end.failed:
            sequence.sampler.extend(tokens)
            self._guess(sequence)
            return sequence.id, chunk
        trouble = NOTHING_TO_DRAW if end.failed else keep(sequence, self._spool, self.runner)
        self._end(sequence)
        if trouble is None:
            return sequence.id, chunk
        if end.failed and tokens:
            self._sink.outputs([(sequence.id, chunk)])
        error = refusal(end.error) if end.error is not None else EngineFailed(trouble)
        self._sink.failure(sequence.id, error)
        return None

    def _guess(self, sequence: Sequence) -> None:
        """What must follow, or may, as far as verifying it is likely to pay beside those that run now."""
        sequence.draft = []
        if sequence.drafter is not None:
            sequence.drafter.read()
            running = max(1, len(self.scheduler.running))
            sequence.draft = sequence.drafter.propose(self.scheduler.pace.break_even(running))
        if sequence.constraint is not None:
            allowed = sequence.draft[: sequence.constraint.foreseen]
            sequence.draft = sequence.constraint.forced or allowed
