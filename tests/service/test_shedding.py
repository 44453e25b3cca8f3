from __future__ import annotations

from typing import ClassVar

import msgspec
import pytest

from chatwright.accounts.tiers import TIERS
from chatwright.core.engine import TellsLoad
from chatwright.core.errors import InvalidRequest, Overloaded
from chatwright.service.fold import fold
from chatwright.service.shedding import COMING_SECONDS, HOLD_SECONDS, Shedding


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("refused", "shed"), [("flex", {"flex"}), ("default", {"flex", "default"}), ("priority", set(TIERS))]
)
def test_a_refusal_holds_for_its_tier_and_those_below_for_a_moment(refused, shed) -> None:
    clock = Clock()
    shedding = Shedding(clock)
    shedding.note("m", TIERS[refused].waiting_share, Overloaded("full", retry_after=3.0))

    def refuses(model: str, tier: str) -> bool:
        try:
            shedding.enter(model, tier, object())
        except Overloaded as again:
            return (again.message, again.retry_after) == ("full", 3.0)
        return False

    assert {tier for tier in TIERS if refuses("m", tier)} == shed
    assert not any(refuses("other", tier) for tier in TIERS)
    clock.now += HOLD_SECONDS
    assert not any(refuses("m", tier) for tier in TIERS)


async def test_what_a_full_engine_refuses_is_a_refusal_and_the_next_one_never_gets_there(
    recut, new_model, new_service, new_request, account
) -> None:
    class Full(recut):
        async def generate(self, request):
            self.requests.append(request)
            raise Overloaded("full", retry_after=3.0)
            yield

    engine = Full((2,))
    await engine.start()
    service = new_service(new_model(engine))
    answer = await service.open(new_request(), account, request_id="r")
    with pytest.raises(Overloaded):
        await fold(answer.deltas)
    assert answer.record.status == "refused"
    with pytest.raises(Overloaded):
        await service.open(new_request(), account, request_id="r")
    assert len(engine.requests) == 1


async def test_an_engine_that_is_not_ready_is_asked_again(
    recut, new_model, new_service, new_request, account
) -> None:
    engine = recut((2,))
    service = new_service(new_model(engine))
    answer = await service.open(new_request(), account, request_id="r")
    with pytest.raises(Overloaded):
        await fold(answer.deltas)
    await engine.start()
    await fold((await service.open(new_request(), account, request_id="r")).deltas)


async def test_an_engine_that_says_it_is_full_is_not_asked_and_nothing_is_rendered_or_reserved(
    recut, new_model, new_service, new_request, account
) -> None:
    class Telling(recut):
        full = Overloaded("3 wait", retry_after=4.0)

        def overload(self, waiting_share: float, coming: int) -> Overloaded | None:
            assert coming == 0
            return self.full if waiting_share < 1 else None

    engine = Telling((2,))
    assert isinstance(engine, TellsLoad)
    await engine.start()
    service = new_service(new_model(engine))
    with pytest.raises(Overloaded, match="3 wait"):
        await service.open(
            new_request(stop_token_ids=(10**9,)), account, request_id="r"
        )  # which rendering would refuse
    everything = msgspec.structs.replace(account, service_tiers=frozenset(TIERS))
    answer = await service.open(new_request(service_tier="priority"), everything, request_id="r")
    await fold(answer.deltas)
    engine.full = None
    await fold((await service.open(new_request(), account, request_id="r")).deltas)
    assert len(engine.requests) == 2


async def test_who_is_on_the_way_counts_until_the_engine_has_it_or_never_will(
    recut, new_model, new_service, new_request, account
) -> None:
    class Counting(recut):
        coming: ClassVar[list[int]] = []

        def overload(self, waiting_share: float, coming: int) -> Overloaded | None:
            self.coming.append(coming)
            return None

    engine = Counting((2,))
    await engine.start()
    service = new_service(new_model(engine))

    async def opened():
        return await service.open(new_request(), account, request_id="r")

    first, second, third = await opened(), await opened(), await opened()
    await anext(first.deltas)
    await second.deltas.aclose()
    with pytest.raises(InvalidRequest):
        await service.open(new_request(stop_token_ids=(10**9,)), account, request_id="r")
    await fold((await opened()).deltas)
    assert engine.coming == [0, 1, 2, 1, 1]
    await first.deltas.aclose()
    await third.deltas.aclose()
    await (await opened()).deltas.aclose()
    assert engine.coming[-1] == 0


def test_who_is_long_on_the_way_keeps_nobody_out() -> None:
    class Counting:
        coming = 0

        def overload(self, waiting_share: float, coming: int) -> Overloaded | None:
            self.coming = coming
            return None

    clock, engine = Clock(), Counting()
    shedding = Shedding(clock)
    first = shedding.enter("m", "default", engine)
    clock.now += COMING_SECONDS / 2
    shedding.enter("m", "default", engine)
    assert engine.coming == 1
    clock.now += COMING_SECONDS / 2
    last = shedding.enter("m", "default", engine)
    assert engine.coming == 1
    first.passed()
    last.passed()
    last.passed()
    shedding.enter("m", "default", engine)
    assert engine.coming == 1
