"""What runs in the next step: a map from sequences to token counts, nothing else.

There are no prefill and decode phases: a sequence with more than one token pending is in prefill, chunks of several
sequences and decode tokens share one step. Running sequences are kept in rank order; when blocks run out the
last one is preempted.
"""

from __future__ import annotations

from bisect import insort

import msgspec

from chatwright.engines.batching.blocks import BlockPool
from chatwright.engines.batching.pace import Pace
from chatwright.engines.batching.plan import Plan, Work, levelled
from chatwright.engines.batching.runner import RunnerInfo
from chatwright.engines.batching.sequence import Sequence
from chatwright.engines.batching.share import over_share
from chatwright.engines.batching.waiting import WaitingQueue


class SchedulerLimits(msgspec.Struct, frozen=True):
    """`max_sequences` run at once; a step holds at most `step_tokens` prompt tokens (one more where a chunk may not
    leave a lone token); `stretch` bounds a step that mixes in prompt tokens, in times of one that doesn't; `burst` bounds
    one that takes a whole prompt at once, for which the next ones are shorter.
    """

    max_sequences: int = 64
    step_tokens: int = 512
    stretch: float = 2.5
    burst: float = 5.0
    prefix_cache: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError for limits under which nothing could run."""
        if self.max_sequences < 1 or self.step_tokens < 1 or not self.burst >= self.stretch >= 1:
            raise ValueError(
                "max_sequences, step_tokens and stretch must be at least 1, burst at least stretch"
            )


class Scheduler:
    """Owns the block pool, the running set and the waiting queue. Single-threaded and free of clocks and I/O.

    No sequence may ever need more blocks than the pool has (`acceptance.check` sees to that), so the first in rank
    always proceeds: nothing deadlocks.
    """

    def __init__(self, info: RunnerInfo, limits: SchedulerLimits) -> None:
        self.info = info
        self.limits = limits
        self.pool = BlockPool(info.block_count, info.block_size)
        self.pace = Pace(limits.step_tokens, limits.stretch)
        self.waiting = WaitingQueue()
        self.running: list[Sequence] = []
        self.preemptions = 0
        self.reserved = 0
        self._owed = 0  # prompt tokens that were let in early
        self._least_chunk = 1 if info.recomputes else 2

    # -- coming and going ---------------------------------------------------------------------------------------

    def add(self, sequence: Sequence) -> None:
        """Queue a new sequence."""
        self.waiting.enter(sequence.request.fair_key)
        self.waiting.push(sequence)

    def finish(self, sequence: Sequence) -> None:
        """A sequence ended, for whatever reason; its blocks are free at once."""
        if sequence.running:
            self._stop(sequence)
        else:
            self.waiting.remove(sequence)
        self.waiting.leave(sequence.request.fair_key)

    def expired(self, now: float) -> list[Sequence]:
        """Sequences that waited past their deadline and never reached prefill."""
        return [
            s for s in self.waiting if s.request.deadline is not None and s.request.deadline < now and s.cold
        ]

    # -- one step -----------------------------------------------------------------------------------------------

    def schedule(self) -> Plan:
        """Choose the next step. An empty plan means there is nothing to do."""
        decoding = sum(1 for s in self.running if s.pending == 1)
        plan = self._open(decoding)
        budget = plan.budget
        for sequence in list(self.running):
            if sequence.running:
                budget -= self._continue(sequence, budget, plan)
        while budget >= self._least_chunk and len(self.waiting):
            sequence = self.waiting.peek()
            if not self._make_room(sequence, plan):
                break
            self.waiting.remove(sequence)
            budget -= self._admit(sequence, budget, plan)
        self._give_rest(plan, budget)
        self._add_drafts(plan, decoding)
        return plan

    def _open(self, decoding: int) -> Plan:
        """A step's budget, less what earlier ones let in early: on the whole, running streams keep the same pace."""
        coming = min(len(self.running) + len(self.waiting), self.limits.max_sequences) - decoding
        allowed = self.pace.allowance(decoding, coming)
        owed, self._owed = self._owed, max(0, self._owed - allowed)
        loan = (
            0 if owed or not decoding else self.pace.allowance(decoding, coming, self.limits.burst) - allowed
        )
        return Plan(max(self._least_chunk, allowed - owed), max(0, loan))

    def _turn(self, sequence: Sequence, budget: int, plan: Plan) -> int:
        """Prompt tokens that a sequence may take of what is left.

        A short prompt that a loan gets through takes it: one longer gap for the others in place of several steps for it.
        A prompt too long for any such step leaves half of it to those behind, who may be short: nobody waits for all
        of somebody's 8,000 tokens. Prompts that fit go one after the other, which is soonest for all.
        """
        if budget < sequence.pending and sequence.prompt_length - sequence.cached <= budget + plan.loan:
            return sequence.pending
        if sequence.pending <= plan.budget:
            return budget
        others = len(self.waiting) or any(s is not sequence and s.pending > 1 for s in self.running)
        return max(self._least_chunk, budget // 2) if others and budget > 0 else budget

    def _give_rest(self, plan: Plan, budget: int) -> None:
        """What nobody behind could use goes to the first that is not through."""
        cut = next((item for item in plan.work if not item.samples), None)
        if cut is None or budget < 1:
            return
        sequence = cut.sequence
        count = self._chunk(sequence.pending, cut.count + budget)
        if count > cut.count and self._grow(sequence, sequence.computed + count, plan):
            cut.count, cut.samples = count, count == sequence.pending

    def _continue(self, sequence: Sequence, budget: int, plan: Plan) -> int:
        """Plan a running sequence's next tokens; returns the prompt tokens that took."""
        pending = sequence.pending
        count = 1 if pending == 1 else self._chunk(pending, self._turn(sequence, budget, plan))
        if count == 0 or not self._grow(sequence, sequence.computed + count, plan):
            return 0
        if pending > 1 and count > budget:
            self._owed += count - budget
            plan.loan = 0
        prefill = sequence.generated == 0 or pending > 1
        plan.work.append(Work(sequence, count, count == pending, prefill))
        return count if prefill else 0

    def _chunk(self, pending: int, budget: int) -> int:
        """Prompt tokens to compute now. Never leaves, nor is, a lone token where that would take another kernel."""
        count = min(pending, budget)
        if pending - count == 1 and count > 0:
            count += self._least_chunk - 1
        return count if count >= self._least_chunk else 0

    def _grow(self, sequence: Sequence, tokens: int, plan: Plan) -> bool:
        """Give a running sequence blocks for so many tokens, preempting from the end of the ranks. False: it
        was itself preempted.
        """
        missing = self.pool.blocks_for(tokens) - len(sequence.blocks)
        while missing > self.pool.available:
            victim = self.running[-1]
            self._preempt(victim, plan)
            if victim is sequence:
                return False
        if missing > 0:
            sequence.blocks += self.pool.allocate(missing)
            self._reserve(sequence, max(sequence.reserved, len(sequence.blocks)))
        return True

    def _add_drafts(self, plan: Plan, decoding: int) -> None:
        """Share what the prompts left of the step's time between the drafts, likeliest (first) tokens first."""
        if not self.info.recomputes:
            return
        work = [item for item in plan.work if item.samples and item.sequence.draft]
        prompt = sum(item.count for item in plan.work if item.prefill)
        rows = self.pace.draft_allowance(decoding, prompt)
        for item, most in zip(work, levelled([len(item.sequence.draft) for item in work], rows), strict=True):
            item.draft = self._draft(item.sequence, item.sequence.computed + item.count, most)

    def _draft(self, sequence: Sequence, end: int, most: int) -> list[int]:
        """At most so much of its draft as may still count and fits into blocks set aside for it: nobody gives way
        to a guess.
        """
        size = self.pool.block_size
        most = min(most, sequence.room - 1, sequence.reserved * size - end)
        missing = self.pool.blocks_for(end + most) - len(sequence.blocks)
        if missing > self.pool.available:
            most = min(most, len(sequence.blocks) * size - end)
        elif missing > 0:
            sequence.blocks += self.pool.allocate(missing)
        return sequence.draft[: max(0, most)]

    # -- admission ----------------------------------------------------------------------------------------------

    def _make_room(self, sequence: Sequence, plan: Plan) -> bool:
        """Whether this sequence can start now, taking slots from tenants that hold more than their share if that
        is enough.
        """
        staying, victims = list(self.running), []
        while not self._fits(sequence, staying):
            victim = over_share(sequence, staying, self.waiting.service)
            if victim is None:
                return False
            staying.remove(victim)
            victims.append(victim)
        for victim in victims:
            self._preempt(victim, plan)
        return True

    def _fits(self, sequence: Sequence, beside: list[Sequence]) -> bool:
        """A sequence's blocks never pass its reservation without raising it, so what is not reserved is free."""
        if not beside:
            return True
        if len(beside) >= self.limits.max_sequences:
            return False
        return sum(other.reserved for other in beside) + self._need(sequence) <= self.pool.count

    def _admit(self, sequence: Sequence, budget: int, plan: Plan) -> int:
        if sequence.saved_computed:
            sequence.blocks = self.pool.allocate(self.pool.blocks_for(sequence.saved_computed))
            sequence.computed = sequence.saved_computed
            plan.restores.append(sequence)
        elif self.limits.prefix_cache:
            self._share_prefix(sequence)
        sequence.cold = False
        insort(self.running, sequence, key=lambda s: s.rank)
        self._reserve(sequence, self._need(sequence))
        return self._continue(sequence, budget, plan)

    def _share_prefix(self, sequence: Sequence) -> None:
        """Start after the longest cached prefix. The last token is always computed, since its logits are needed."""
        size = self.pool.block_size
        usable = max(0, (len(sequence.token_ids) - self._least_chunk) // size)
        blocks = self.pool.match(sequence.block_hashes(usable, size))
        self.pool.share(blocks)
        sequence.blocks = blocks
        sequence.computed = len(blocks) * size
        if sequence.cold:
            sequence.cached = sequence.charged = sequence.computed

    def _need(self, sequence: Sequence) -> int:
        """Blocks to set aside for a sequence that starts (contract 6.4); never more than there are, so that
        it can always start.
        """
        tokens = max(sequence.request.reservation, len(sequence.token_ids) + 1)
        return min(self.pool.count, self.pool.blocks_for(tokens))

    def _reserve(self, sequence: Sequence, blocks: int) -> None:
        self.reserved += blocks - sequence.reserved
        sequence.reserved = blocks

    # -- giving up blocks ---------------------------------------------------------------------------------------

    def _preempt(self, victim: Sequence, plan: Plan) -> None:
        """Send a running sequence back to the queue; its KV is saved where recomputing it could change the text."""
        self.preemptions += 1
        plan.work = [work for work in plan.work if work.sequence is not victim]
        if victim in plan.restores:
            plan.restores.remove(victim)
        elif not self.info.recomputes and victim.computed:
            victim.saved_computed = victim.computed
            plan.saves.append((victim, victim.blocks[: self.pool.blocks_for(victim.computed)]))
        self._stop(victim)
        self.waiting.push(victim)

    def _stop(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._reserve(sequence, 0)
        self.pool.release(sequence.blocks)
        sequence.blocks = []
        sequence.computed = 0

    # -- after the step -----------------------------------------------------------------------------------------

    def advance(self, work: Work, tokens: list[int]) -> int:
        """Book finished work: KV of what was computed is there, `tokens` were sampled (drafts that were
        accepted, then one more). Returns how many prompt tokens were computed for the first time.
        """
        sequence = work.sequence
        first = sequence.computed // self.pool.block_size
        sequence.token_ids += tokens
        sequence.computed += work.count + max(0, len(tokens) - 1)
        new = max(0, min(sequence.computed, sequence.prompt_length) - sequence.charged)
        sequence.charged += new
        self.waiting.charge(sequence, new, len(tokens))
        if self.limits.prefix_cache:
            self._register(sequence, first)
        return new

    def _register(self, sequence: Sequence, first: int) -> None:
        """Let others find its full blocks from `first` on; blocks with decoded tokens only where that KV equals prefill's."""
        end = sequence.computed
        if not self.info.recomputes:
            end = min(end, sequence.prompt_length)
        full = end // self.pool.block_size
        if full <= first:
            return
        hashes = sequence.block_hashes(full, self.pool.block_size)
        for index in range(first, full):
            self.pool.register(sequence.blocks[index], hashes[index])
