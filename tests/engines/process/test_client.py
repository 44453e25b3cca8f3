"""`ProcessEngine` with real child processes: serving, dying, hanging, restarting, closing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap

import pytest
from tests.engines.process.conftest import collect, gone, request

from chatwright.core.errors import ContextLengthExceeded, DeadlineExceeded, EngineFailed, Overloaded
from chatwright.engines.batching.engine import BatchingEngine
from chatwright.engines.batching.loop import LoopLimits
from chatwright.engines.batching.scheduler import SchedulerLimits
from chatwright.engines.batching.simulated import SimulatedRunner
from chatwright.engines.process.child import Child

SLOW = {"step_seconds": 0.02}


async def failures(tasks):
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
    assert all(isinstance(result, EngineFailed) for result in results), results
    return results


async def begin(engine, name, max_tokens=1500):
    """A stream whose first chunk has come."""
    stream = engine.generate(request(name, max_tokens))
    await anext(stream)
    return stream


async def rest(stream):
    return [chunk async for chunk in stream]


async def test_a_child_gives_what_the_engine_gives_in_this_process(engines):
    engine = await engines.start()
    assert engine.ready
    assert engine.info.name == "simulated"
    here = BatchingEngine(lambda: SimulatedRunner(context_length=2048))
    await here.start()
    wanted = [request(f"r{i}", 30, (1, i)) for i in range(10)]
    assert await asyncio.gather(*(collect(engine, one) for one in wanted)) == [
        await collect(here, one) for one in wanted
    ]
    await here.close()
    stats = await engine.stats()
    assert (stats.generated_tokens, stats.running, stats.kv_blocks_used) == (300, 0, 0)


async def test_an_abort_reaches_the_child_within_a_step(engines):
    engine = await engines.start(**SLOW)
    stream = await begin(engine, "x")
    await stream.aclose()
    steps = (await engine.stats()).steps
    while (stats := await engine.stats()).running:
        pass
    assert stats.steps <= steps + 1
    assert stats.aborted == 1
    assert stats.kv_blocks_used == 0


async def test_killing_the_child_fails_what_runs_and_it_comes_back(engines):
    engine = await engines.start(**SLOW)
    before = await collect(engine, request("before"))
    streams = [await begin(engine, f"r{i}") for i in range(5)]
    pid = engine.pid
    os.kill(pid, signal.SIGKILL)
    await failures([rest(stream) for stream in streams])
    await engines.ready_again()
    assert engine.ready
    assert engine.pid not in (None, pid)
    assert engine.restarts == 1
    assert await collect(engine, request("after")) == before
    assert (await engine.stats()).generated_tokens == 8


async def test_while_it_restarts_requests_are_turned_away_and_stats_are_empty(engines):
    engine = await engines.start(load_seconds=0.5)
    stream = engine.generate(request("early"))
    os.kill(engine.pid, signal.SIGKILL)
    while engine.ready:
        await asyncio.sleep(0)
    with pytest.raises(Overloaded) as caught:
        await anext(stream)
    assert caught.value.retry_after
    assert (await engine.stats()).steps == 0
    await engines.ready_again()
    assert len(await collect(engine, request("later"))) == 8


async def test_stats_asked_for_when_the_child_dies_are_answered_and_work_again_later(engines):
    engine = await engines.start()
    os.kill(engine.pid, signal.SIGSTOP)
    asked = asyncio.create_task(engine.stats())
    await asyncio.sleep(0)
    os.kill(engine.pid, signal.SIGKILL)
    assert (await asked).kv_blocks_total == 0
    await engines.ready_again()
    assert (await engine.stats()).kv_blocks_total == 1024


async def test_kernels_that_fail_end_the_child_and_a_new_one_serves(engines):
    warm = 2 + 7 + 10  # steps of warm-up and self-check
    engine = await engines.start(fail_after=warm + 40)
    await failures([collect(engine, request(f"r{i}", 1000)) for i in range(3)])
    await engines.ready_again()
    assert len(await collect(engine, request("after"))) == 8


async def test_a_child_that_hangs_is_replaced(engines):
    engine = await engines.start(silence_seconds=2.0, **SLOW)
    stream = await begin(engine, "x")
    os.kill(engine.pid, signal.SIGSTOP)
    await failures([rest(stream)])
    await engines.ready_again()
    assert len(await collect(engine, request("after"))) == 8


async def test_a_hung_child_is_killed_on_close_and_its_requests_fail(engines):
    engine = await engines.start(**SLOW)
    stream = await begin(engine, "x")
    pid = engine.pid
    os.kill(pid, signal.SIGSTOP)
    await asyncio.gather(failures([rest(stream)]), engine.close())
    await gone(pid)


async def test_closing_fails_what_runs_and_what_comes_later(engines):
    engine = await engines.start(**SLOW)
    stream = await begin(engine, "x")
    await engine.close()
    (error,) = await failures([rest(stream)])
    assert "shutting down" in error.message
    with pytest.raises(Overloaded):
        await collect(engine, request("late"))
    await engine.close()


async def test_a_closed_engine_starts_again(engines):
    engine = await engines.start()
    before = await collect(engine, request("x"))
    await engine.close()
    await engine.start()
    await engines.ready_again()
    assert await collect(engine, request("x")) == before


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"kind": "openvino"}, "OpenVINO"),
        ({"kv_bytes": 4096}, "kv_cache_bytes = 4096 holds 4 blocks"),
        ({"vocab_size": -3}, "ValueError"),
    ],
)
async def test_a_child_that_cant_load_says_why(engines, wrong, reason):
    engine = engines.make(**wrong)
    with pytest.raises(EngineFailed, match=reason):
        await engine.start()
    assert engine.pid is None
    assert not engine.ready


async def test_a_child_that_dies_while_loading_is_told_of(engines):
    engine = engines.make(load_seconds=60)
    starting = asyncio.create_task(engine.start())
    while engine.pid is None:
        await asyncio.sleep(0)
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(EngineFailed, match="died while loading, exit status -9"):
        await starting


async def test_a_start_that_is_cancelled_leaves_nothing(engines):
    engine = engines.make(load_seconds=60)
    starting = asyncio.create_task(engine.start())
    while engine.pid is None:
        await asyncio.sleep(0)
    pid = engine.pid
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await gone(pid)


async def test_a_restart_whose_load_fails_is_tried_again(engines):
    broken = iter([False, True, True, False])

    def ready():
        if next(broken):
            raise RuntimeError("no room yet")

    engine = await engines.start(on_ready=ready)
    os.kill(engine.pid, signal.SIGKILL)
    await engines.ready_again()
    assert engine.restarts == 3
    assert len(await collect(engine, request("after"))) == 8


@pytest.mark.parametrize(
    "trouble", [ValueError("garbage"), OSError("pipe"), MemoryError(), RuntimeError("bug")]
)
async def test_no_request_hangs_whatever_goes_wrong_in_the_supervision(engines, monkeypatch, trouble):
    engine = await engines.start(**SLOW)
    stream = await begin(engine, "x")
    receive = Child.receive

    async def fails(child):
        monkeypatch.setattr(Child, "receive", receive)
        raise trouble

    monkeypatch.setattr(Child, "receive", fails)
    await failures([rest(stream)])
    await engines.ready_again()
    assert len(await collect(engine, request("after"))) == 8


async def test_errors_cross_with_everything_they_say(engines):
    engine = await engines.start(limits=LoopLimits(max_waiting=2), **SLOW)
    tasks = [asyncio.create_task(collect(engine, request(f"r{i}", 20))) for i in range(12)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [result for result in results if isinstance(result, Overloaded)]
    assert refused
    assert all(error.retry_after >= 1 for error in refused)
    assert all(len(result) == 20 for result in results if isinstance(result, list))
    with pytest.raises(ContextLengthExceeded) as caught:
        await collect(engine, request("long", 8, [1] * 2048))
    assert caught.value.param == "messages"
    with pytest.raises(DeadlineExceeded):
        await collect(engine, request("late", deadline=1.0))


async def test_a_full_waiting_room_is_known_without_asking(engines):
    limits = LoopLimits(max_waiting=4, scheduler=SchedulerLimits(max_sequences=1))
    engine = await engines.start(limits=limits, **SLOW)
    assert engine.overload(1.0, 0) is None, "nothing is known of an engine that has said nothing"
    running = await begin(engine, "running")
    waiting = [asyncio.create_task(collect(engine, request(f"w{number}"))) for number in range(3)]
    await asyncio.sleep(0)
    for _ in range(2):  # as sent, then as the engine says
        assert engine.overload(0.5, 0).retry_after >= 1
        assert engine.overload(1.0, 0) is None
        assert engine.overload(1.0, 1) is not None
        await anext(running)
        await anext(running)
    await running.aclose()
    await asyncio.gather(*waiting)
    assert engine.overload(0.1, 0) is None


async def test_a_refusal_tells_how_full_it_is(engines):
    limits = LoopLimits(max_waiting=1, scheduler=SchedulerLimits(max_sequences=1))
    engine = await engines.start(limits=limits, **SLOW)
    running = await begin(engine, "running")
    waiting = [asyncio.create_task(collect(engine, request(f"w{number}"))) for number in range(2)]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert isinstance(done.pop().exception(), Overloaded)
    assert engine.overload(1.0, 0) is not None
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    os.kill(engine.pid, signal.SIGKILL)
    while engine.ready:
        await asyncio.sleep(0)
    assert engine.overload(1.0, 0) is None
    await running.aclose()


async def test_a_flood_of_aborts_leaks_nothing(engines):
    engine = await engines.start()

    async def part(number):
        stream = engine.generate(request(f"r{number}", 100))
        async for _ in stream:
            if number % 3:
                await stream.aclose()
                return

    await asyncio.gather(*(part(number) for number in range(200)))
    while (stats := await engine.stats()).running or stats.waiting:
        pass
    assert (stats.kv_blocks_used, stats.waiting_tokens) == (0, 0)


async def test_signals_to_the_whole_group_leave_the_child_serving(engines):
    engine = await engines.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(engine.pid, number)
    assert len(await collect(engine, request("x"))) == 8
    assert engine.restarts == 0


async def test_a_parents_death_ends_the_child():
    program = """
        import asyncio, os, signal
        from tests.engines.process.conftest import options
        from chatwright.engines.process.client import ProcessEngine

        async def main():
            engine = ProcessEngine(options())
            await engine.start()
            print(engine.pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

        asyncio.run(main())
    """
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(program), stdout=asyncio.subprocess.PIPE
    )
    pid = int(await parent.stdout.readline())
    assert await parent.wait() == -signal.SIGKILL
    await gone(pid)
