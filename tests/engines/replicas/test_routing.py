"""Where requests are sent: bounds hold, keys stay, memory is bounded."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatwright.core.generation import GenerationRequest
from chatwright.core.sampling import SamplingParams
from chatwright.engines.replicas.prefix_index import BLOCK_TOKENS, PrefixIndex, prompt_chain
from chatwright.engines.replicas.routing import (
    CacheAwareRouter,
    LeastLoaded,
    Load,
    Router,
    rendezvous,
    within_bounds,
)

NAMES = ("a", "b", "c", "d")
IDLE = dict.fromkeys(NAMES, Load())
loads_of_replicas = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3),
    st.builds(lambda tokens: Load(len(tokens), sum(tokens)), st.lists(st.integers(1, 5000), max_size=20)),
    min_size=1,
    max_size=12,
)


def request(
    prompt: tuple[int, ...] = (1,), *, name: str = "r", salt: str = "", affinity: str = ""
) -> GenerationRequest:
    return GenerationRequest(
        name, prompt, SamplingParams(8, seed=1), reservation=8, cache_salt=salt, affinity=affinity
    )


def prompt_of(*blocks: int) -> tuple[int, ...]:
    return tuple(number for number in blocks for _ in range(BLOCK_TOKENS))


LONG = prompt_of(*range(20))
BUSY_B = {**IDLE, "b": Load(1, 64)}

requests = st.builds(
    lambda blocks, salt, affinity: request(prompt_of(*blocks), salt=salt, affinity=affinity),
    st.lists(st.integers(0, 3), min_size=1, max_size=5),
    st.sampled_from(("", "tenant")),
    st.sampled_from(("", "", "one", "two")),
)


@given(loads_of_replicas)
def test_the_least_loaded_is_always_within_bounds(loads: dict[str, Load]) -> None:
    allowed = within_bounds(loads)
    assert min(loads, key=lambda name: loads[name].tokens) in allowed
    tokens = [load.tokens for load in loads.values()]
    average = sum(tokens) / max(1, sum(load.requests for load in loads.values()))
    assert all(loads[name].tokens <= 1.25 * sum(tokens) / len(tokens) + 4 * average for name in allowed)


@given(st.lists(st.tuples(requests, st.booleans()), min_size=1, max_size=60))
def test_no_history_of_prefixes_and_affinities_passes_the_bounds(
    history: list[tuple[GenerationRequest, bool]],
) -> None:
    router, loads = CacheAwareRouter(), dict(IDLE)
    for one, ends in history:
        name = router.choose(one, loads)
        assert name in within_bounds(loads)
        router.sent(one, name)
        if not ends:
            requests_there, tokens = loads[name]
            loads[name] = Load(requests_there + 1, tokens + len(one.prompt_token_ids))


def test_everybodys_favourite_stays_bounded() -> None:
    router, loads = CacheAwareRouter(headroom=1.25, slack=2), dict(IDLE)
    for number in range(400):
        name = router.choose(request(affinity="hot"), loads)
        loads[name] = Load(loads[name].requests + 1, loads[name].tokens + 1)
        mean = (number + 1) / len(NAMES)
        assert max(load.requests for load in loads.values()) <= 1.25 * mean + 3


@given(
    st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=10),
    st.binary(max_size=16),
    st.text("xyz", min_size=9, max_size=9),
)
def test_a_replica_that_comes_takes_keys_only_for_itself(names: set[str], key: bytes, new: str) -> None:
    before, after = rendezvous(names, key), rendezvous({*names, new}, key)
    assert [name for name in after if name != new] == before


def test_a_fifth_replica_moves_a_fifth_of_the_conversations() -> None:
    router = CacheAwareRouter()
    asked = [request(affinity=f"session {number}") for number in range(2000)]
    before = [router.choose(one, IDLE) for one in asked]
    after = [router.choose(one, {**IDLE, "e": Load()}) for one in asked]
    moved = [now for then, now in zip(before, after, strict=True) if then != now]
    assert set(moved) == {"e"}
    assert 0.15 < len(moved) / len(asked) < 0.25
    assert all(0.2 < share / len(asked) < 0.3 for share in Counter(before).values())


def test_affinity_belongs_to_a_tenant() -> None:
    router = CacheAwareRouter()
    places = {router.choose(request(affinity="1", salt=f"tenant {number}"), IDLE) for number in range(64)}
    assert places == set(NAMES)


def test_affinity_goes_before_a_cached_prefix() -> None:
    router = CacheAwareRouter()
    one = request(prompt_of(1, 2), affinity="session")
    owner = router.choose(one, IDLE)
    router.sent(one, next(name for name in NAMES if name != owner))
    assert router.choose(one, IDLE) == owner


def test_the_longest_prefix_decides() -> None:
    router = CacheAwareRouter()
    router.sent(request(prompt_of(1, 2)), "b")
    router.sent(request(prompt_of(1, 2, 3)), "c")
    assert router.choose(request(prompt_of(1, 2, 3, 4)), IDLE) == "c"
    assert router.choose(request(prompt_of(1, 2, 3, 4)), {name: IDLE[name] for name in "ab"}) == "b"


def test_prefixes_of_another_tenant_do_not_count() -> None:
    router = CacheAwareRouter()
    router.sent(request(LONG, salt="one"), "b")
    assert router.choose(request(LONG, salt="one"), BUSY_B) == "b"
    assert router.choose(request(LONG, salt="two"), BUSY_B) != "b"


def test_a_short_prefix_is_not_worth_a_queue() -> None:
    router = CacheAwareRouter()
    router.sent(request(prompt_of(1)), "b")
    assert router.choose(request(prompt_of(1, 2)), BUSY_B) != "b"


def test_a_busy_replica_loses_its_prefix() -> None:
    router = CacheAwareRouter()
    one = request(prompt_of(1, 2))
    router.sent(one, "b")
    busy = {**dict.fromkeys(NAMES, Load(4, 400)), "b": Load(20, 2000)}
    assert router.choose(one, busy) != "b"


def test_equals_are_told_apart_by_the_prompt_not_by_the_router() -> None:
    asked = [request(prompt_of(number), name=f"r{number}") for number in range(40)]
    first, second = ([CacheAwareRouter().choose(one, IDLE) for one in asked] for _ in range(2))
    assert first == second
    assert set(first) == set(NAMES)


def test_routers_with_pasts_of_their_own_send_a_new_prompt_to_the_same_replica() -> None:
    routers = CacheAwareRouter(), CacheAwareRouter()
    for number in range(62):
        one = request(prompt_of(number), name=f"r{number}")
        routers[number % 3 == 0].sent(one, routers[number % 3 == 0].choose(one, IDLE))
    asked = [request(prompt_of(100 + number), name=f"s{number}") for number in range(40)]
    first, second = ([router.choose(one, IDLE) for one in asked] for router in routers)
    assert first == second


@pytest.mark.parametrize("router", [CacheAwareRouter(), LeastLoaded()])
def test_without_anything_else_the_least_loaded_is_chosen(router: Router) -> None:
    loads = {"a": Load(2, 20), "b": Load(1, 10), "c": Load(1, 500)}
    assert router.choose(request(), loads) == "b"


def test_a_replica_that_has_gone_is_forgotten() -> None:
    router = CacheAwareRouter()
    router.sent(request(LONG), "b")
    assert router.choose(request(LONG), BUSY_B) == "b"
    router.forget("b")
    router.forget("never heard of")
    assert router.choose(request(LONG), BUSY_B) != "b"


# -- the index --------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.lists(st.integers(0, 2), min_size=1, max_size=6)), max_size=40
    )
)
def test_memory_is_bounded_and_only_whole_prefixes_are_listed(history: list[tuple[str, list[int]]]) -> None:
    index, seen = PrefixIndex(most_blocks=8), set()
    for name, blocks in history:
        chain = prompt_chain(request(prompt_of(*blocks)))
        index.add(name, chain)
        seen.add((name, tuple(chain)))
        assert index.size(name) <= 8
        assert index.matched(name, chain) == len(chain), "what was sent last is there"
    for name, chain in seen:
        matched = index.matched(name, chain)
        assert all(index.matched(name, chain[:count]) == count for count in range(matched + 1))


def test_only_full_blocks_are_hashed() -> None:
    chain = prompt_chain(request((*prompt_of(1, 2), 7)))
    assert chain == prompt_chain(request(prompt_of(1, 2)))
    assert len(chain) == 2
    assert prompt_chain(request((1, 2))) == []
