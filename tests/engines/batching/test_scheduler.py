"""The scheduler alone, with made-up tokens: thousands of random histories, and the cases they taught."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest
from tests.engines.batching.stepping import make_request, make_sequence

from chatwright.engines.batching.plan import Plan
from chatwright.engines.batching.runner import RunnerInfo
from chatwright.engines.batching.scheduler import Scheduler, SchedulerLimits
from chatwright.engines.batching.share import over_share

CONTEXT, BLOCK = 64, 4


def make_info(blocks=16, *, exact=True):
    return RunnerInfo("test", "test", 24, CONTEXT, BLOCK, blocks, 8, exact)


def make_scheduler(blocks=16, *, exact=True, **limits):
    return Scheduler(make_info(blocks, exact=exact), SchedulerLimits(**limits))


def sequence_of(name, prompt, max_tokens=8, *, arrival=0.0, **fields):
    return make_sequence(make_request(name, prompt, max_tokens, **fields), arrival)


def prefix_hashes(tokens):
    return list(accumulate(tokens, lambda before, token: hash((before, token)), initial=0))[1:]


class Driver:
    """Carries plans out without a model: a slot's KV is the hash of the text up to its token."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.kv: dict[tuple[int, int], int] = {}
        self.saved: dict[str, list] = {}
        self.alive: list = []
        self.waited: dict[str, int] = {}

    def add(self, sequence) -> None:
        self.scheduler.add(sequence)
        self.alive.append(sequence)
        self.waited[sequence.id] = 0

    def finish(self, sequence) -> None:
        self.scheduler.finish(sequence)
        self.alive.remove(sequence)

    def _slots(self, sequence, end):
        return [(sequence.blocks[p // BLOCK], p % BLOCK) for p in range(end)]

    def step(self):
        scheduler = self.scheduler
        plan = scheduler.schedule()
        self.check()
        for sequence, blocks in plan.saves:
            self.saved[sequence.id] = [self.kv.get((b, s)) for b in blocks for s in range(BLOCK)]
        for sequence in plan.restores:
            assert sequence.computed == sequence.saved_computed
            for slot, content in zip(
                self._slots(sequence, sequence.computed), self.saved[sequence.id], strict=False
            ):
                self.kv[slot] = content
            sequence.saved_computed = 0
        self._compute(plan)
        for work in plan.work:
            sequence = work.sequence
            self.waited[sequence.id] = 0
            tokens = self._sampled(work)
            scheduler.advance(work, tokens)
            if sequence.generated >= sequence.request.sampling.max_tokens:
                self.finish(sequence)
        self.check()
        for sequence in self.alive:
            self.waited[sequence.id] += 1
        return plan

    def _compute(self, plan) -> None:
        """Write the tokens of all work, then see that every sequence finds its own in its blocks."""
        assert len({id(work.sequence) for work in plan.work}) == len(plan.work)
        for work in plan.work:
            sequence = work.sequence
            assert sequence.running
            assert len(sequence.blocks) * BLOCK >= sequence.computed + work.count + len(work.draft)
            end = sequence.computed + work.count
            kv = prefix_hashes(sequence.token_ids[:end] + work.draft)
            slots = self._slots(sequence, len(kv))
            for place in range(sequence.computed, len(kv)):
                self.kv[slots[place]] = kv[place]
        for work in plan.work:
            sequence = work.sequence
            end = sequence.computed + work.count
            found = [self.kv[slot] for slot in self._slots(sequence, end)]
            assert found == prefix_hashes(sequence.token_ids[:end])

    def _sampled(self, work):
        if not work.samples:
            return []
        room = work.sequence.room
        return [*work.draft[: len(work.draft) // 2], 1][:room]

    def check(self) -> None:
        scheduler = self.scheduler
        scheduler.pool.check([s.blocks for s in scheduler.running])
        assert scheduler.reserved == sum(s.reserved for s in scheduler.running)
        waiting = list(scheduler.waiting)
        assert len(waiting) == len(scheduler.waiting)
        assert {id(s) for s in scheduler.running} | {id(s) for s in waiting} == {id(s) for s in self.alive}
        assert len(scheduler.running) + len(waiting) == len(self.alive)
        assert len(scheduler.running) <= scheduler.limits.max_sequences


def random_sequence(rng, number, now):
    prompt = [rng.randrange(3) for _ in range(rng.choice([1, 2, 4, 9, 30, CONTEXT - 1]))]
    most = rng.choice([1, 3, 10, CONTEXT - len(prompt)])
    most = max(1, min(most, CONTEXT - len(prompt)))
    sequence = sequence_of(
        str(number),
        prompt,
        most,
        arrival=now,
        reservation=rng.choice([1, len(prompt) + most]),
        fair_key=rng.choice("abc"),
        cache_salt=rng.choice("ab"),
        weight=rng.choice([1.0, 1.0, 3.0]),
        priority=rng.choice([0.0, 0.4]),
    )
    sequence.draft = [rng.randrange(3) for _ in range(rng.choice([0, 0, 1, 6]))]
    return sequence


@pytest.mark.parametrize("exact", [True, False], ids=["exact recompute", "saved KV"])
def test_thousands_of_random_histories_keep_the_books_and_end(exact):
    preemptions = 0
    for seed in range(500):
        rng = random.Random(seed)
        scheduler = make_scheduler(
            rng.choice([16, 17, 24]),
            exact=exact,
            max_sequences=rng.choice([1, 2, 5]),
            step_tokens=rng.choice([1, 2, 5, 64]),
            prefix_cache=rng.random() < 0.7,
        )
        driver = Driver(scheduler)
        for now in range(25):
            if rng.random() < 0.4:
                driver.add(random_sequence(rng, now, float(now)))
            if driver.alive and rng.random() < 0.1:
                driver.finish(rng.choice(driver.alive))
            driver.step()
        for _ in range(2000):
            if not driver.alive:
                break
            assert driver.step().work, "nothing runs though something waits"
        assert not driver.alive, "starved"
        assert scheduler.reserved == 0
        assert scheduler.pool.used == 0
        preemptions += scheduler.preemptions
    assert preemptions > 200


def test_a_lone_token_is_never_a_chunk_where_it_would_take_another_kernel():
    for prompt in range(1, 40):
        for step_tokens in (1, 2, 3, 7):
            driver = Driver(make_scheduler(exact=False, step_tokens=step_tokens))
            driver.add(sequence_of("x", range(prompt), 3))
            counts = []
            while not (plan := driver.step()).work[0].samples:
                counts.append(plan.work[0].count)
            counts.append(plan.work[0].count)
            assert sum(counts) == prompt
            assert prompt == 1 or min(counts) >= 2
            assert max(counts) <= max(2, step_tokens) + 1


def test_whoever_is_preempted_for_a_tenant_doesnt_take_its_place_in_the_queue():
    """The victim may rank first in the queue again, before the one it made way for has left it."""
    scheduler = make_scheduler(blocks=16, max_sequences=2)
    driver = Driver(scheduler)
    for name in ("b1", "b2"):
        driver.add(sequence_of(name, [1, 2], 20, arrival=1.0, fair_key="b"))
    driver.step()
    needy = sequence_of("a1", [1, 2], 20, arrival=5.0, fair_key="a")
    driver.add(needy)
    driver.step()
    driver.step()
    assert needy.running
    assert sorted(s.id for s in scheduler.running) == ["a1", "b1"]
    assert [s.id for s in scheduler.waiting] == ["b2"]


def test_nobody_is_preempted_where_that_would_not_make_room():
    scheduler = make_scheduler(blocks=16, max_sequences=3)
    driver = Driver(scheduler)
    driver.add(sequence_of("c1", [1], 40, fair_key="c"))
    for name in ("b1", "b2"):
        driver.add(sequence_of(name, [1, 2], 6, arrival=1.0, fair_key="b"))
    driver.step()
    driver.add(sequence_of("a1", [1, 2], 50, arrival=2.0, fair_key="a"))
    driver.step()
    assert scheduler.preemptions == 0
    assert len(scheduler.running) == 3


def test_a_swap_is_never_undone_at_once():
    rng = random.Random(5)
    for _ in range(2000):
        weights = {key: rng.choice([0.5, 1.0, 2.0, 3.0]) for key in "abc"}
        running = [
            sequence_of(str(i), [1], arrival=float(i), fair_key=key, weight=weights[key])
            for i, key in enumerate(rng.choices("abc", k=rng.randrange(1, 8)))
        ]
        key = rng.choice("abc")
        needy = sequence_of("needy", [1], arrival=99.0, fair_key=key, weight=weights[key])
        victim = over_share(needy, running, lambda tenant: 0.0)
        if victim is not None:
            after = [s for s in running if s is not victim] + [needy]
            assert over_share(victim, after, lambda tenant: 0.0) is not needy


def test_a_tenant_that_was_served_less_keeps_its_slots():
    running = [sequence_of(str(i), [1], fair_key="b") for i in range(4)]
    needy = sequence_of("needy", [1], fair_key="a")
    service = {"a": 10.0, "b": 5.0}
    assert over_share(needy, running, service.__getitem__) is None
    assert over_share(needy, running, lambda tenant: 7.0) is running[-1]


def test_a_burst_of_one_tenant_doesnt_hold_up_anothers_single_request():
    scheduler = make_scheduler(blocks=64, max_sequences=4, step_tokens=64)
    driver = Driver(scheduler)
    for i in range(40):
        driver.add(sequence_of(f"b{i}", [1, 2], 30, arrival=float(i), fair_key="burst"))
    for _ in range(3):
        driver.step()
    single = sequence_of("single", [3, 4], 5, arrival=99.0, fair_key="single")
    driver.add(single)
    steps = 0
    while single in driver.alive:
        driver.step()
        steps += 1
    assert steps <= 8


def test_a_stream_of_newcomers_of_a_tenant_passes_nobody_that_waits():
    """The stated bound within a tenant: only `priority`, at most its largest difference, lets a later one pass."""
    scheduler = make_scheduler(blocks=16, max_sequences=2)
    driver = Driver(scheduler)
    patient = sequence_of("patient", [1] * 20, 30, arrival=0.0, priority=0.5)
    driver.add(patient)
    for now in range(1, 200):
        if patient not in driver.alive:
            break
        driver.add(sequence_of(f"n{now}", [1, 2, 3], 4, arrival=now / 10))
        driver.step()
    assert patient not in driver.alive
    assert driver.waited["patient"] <= 1


def test_sequences_that_outgrow_their_reservation_are_preempted_and_resumed_in_rank_order():
    scheduler = make_scheduler(blocks=16)
    driver = Driver(scheduler)
    for i in range(4):
        driver.add(sequence_of(str(i), [i] * 3, CONTEXT - 3, arrival=float(i), reservation=4))
    finished = []
    for _ in range(1000):
        before = list(driver.alive)
        driver.step()
        finished += [s.id for s in before if s not in driver.alive]
    assert finished == ["0", "1", "2", "3"]
    assert scheduler.preemptions > 0


def test_a_draft_never_takes_blocks_from_others():
    scheduler = make_scheduler(blocks=16)
    driver = Driver(scheduler)
    big = sequence_of("big", [1] * 40, 10, reservation=50)
    small = sequence_of("small", [2] * 3, 8, arrival=1.0, reservation=4)
    driver.add(big)
    driver.add(small)
    driver.step()
    big.draft, small.draft = [1] * 15, [1] * 15
    works = {work.sequence.id: work for work in driver.step().work}
    assert len(works["big"].draft) == 8
    assert len(works["small"].draft) == 0
    assert scheduler.preemptions == 0


def test_drafts_are_left_out_where_they_could_change_the_text():
    scheduler = make_scheduler(exact=False)
    driver = Driver(scheduler)
    sequence = sequence_of("x", [1, 2, 3], 8)
    driver.add(sequence)
    sequence.draft = [1, 1]
    assert [work.draft for work in driver.step().work + driver.step().work] == [[], []]


def test_limits_under_which_nothing_runs_are_refused():
    for wrong in ({"max_sequences": 0}, {"step_tokens": 0}, {"stretch": 0.5}, {"stretch": float("nan")}):
        with pytest.raises(ValueError, match="at least 1"):
            SchedulerLimits(**wrong)


def test_a_prompt_that_is_preempted_halfway_neither_counts_its_own_blocks_as_cached_nor_pays_twice():
    scheduler = make_scheduler(step_tokens=8)
    driver = Driver(scheduler)
    sequence = sequence_of("x", range(24), 4, fair_key="a")
    driver.add(sequence)
    driver.add(sequence_of("stays", [1], 30, arrival=-1.0, fair_key="a"))
    driver.step()
    driver.step()
    assert 0 < sequence.computed < 24
    service = scheduler.waiting.service("a")
    scheduler._preempt(sequence, Plan())
    assert sequence.computed == 0
    plan = driver.step()
    assert sequence in [work.sequence for work in plan.work]
    assert sequence.computed > 8, "its own blocks are found again"
    assert sequence.cached == 0
    while sequence.generated == 0:
        driver.step()
    paid = scheduler.waiting.service("a") - service
    assert paid <= 24 + 2 * 10
    assert sequence.charged == 24


def test_a_short_prompt_does_not_wait_for_all_of_a_long_one():
    driver = Driver(make_scheduler(64, step_tokens=8))
    long = sequence_of("long", range(60), 2)
    driver.add(long)
    driver.step()
    assert long.computed == 8
    short = sequence_of("short", [1, 2, 3, 4, 5, 6], 2, arrival=1.0)
    driver.add(short)
    driver.step()
    assert (long.computed, short.computed) == (12, 4)
    driver.step()
    assert short.generated == 1
    assert long.computed == 18, "what the short one left"


def taught(decoding, **limits):
    """A scheduler that knows its steps: 8 units and half a one a row or prompt token; `decoding` streams run."""
    driver = Driver(
        Scheduler(RunnerInfo("test", "test", 24, 4096, BLOCK, 4096, 8, True), SchedulerLimits(**limits))
    )
    for number in range(decoding):
        driver.add(sequence_of(f"stream {number}", [number + 1], 1000))
    driver.step()
    pace = driver.scheduler.pace
    pace.observe(0, 512, 8 + 256)
    for _ in range(50):
        pace.observe(decoding, 0, 8 + decoding / 2)
        pace.observe(decoding, 20, 8 + decoding / 2 + 10)
    return driver


def test_a_short_prompt_enters_at_once_and_the_next_steps_are_shorter_for_it():
    driver = taught(8)
    usual = driver.scheduler.pace.allowance(8)
    assert 30 <= usual < 60
    driver.add(sequence_of("short", range(60), 8, arrival=1.0))
    plan = driver.scheduler.schedule()
    assert [work.count for work in plan.work if work.prefill] == [60]
    for work in plan.work:
        driver.scheduler.advance(work, driver._sampled(work))
    driver.add(sequence_of("next", range(100, 160), 8, arrival=2.0))
    owing = driver.scheduler.schedule()
    allowed = driver.scheduler.pace.allowance(9)
    assert [work.count for work in owing.work if work.prefill] == [allowed - (60 - usual)]


def test_no_loan_is_given_to_a_prompt_that_it_does_not_get_through():
    driver = taught(8)
    usual = driver.scheduler.pace.allowance(8)
    long = sequence_of("long", range(400), 8, arrival=1.0)
    driver.add(long)
    steps = 0
    while long.generated == 0:
        before = long.computed
        driver.step()
        steps += 1
        assert long.computed - before <= usual + 1, "also at its end"
    assert steps >= 400 // (usual + 1)


def test_what_nobody_behind_can_use_goes_to_the_long_prompt():
    driver = Driver(make_scheduler(16, step_tokens=8))
    long = sequence_of("long", range(56), 8, reservation=64)
    driver.add(long)
    driver.add(sequence_of("late", range(20), 8, arrival=1.0, reservation=64))
    driver.step()
    assert long.computed == 8
