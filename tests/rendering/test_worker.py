"""Templates of requests in killable workers: what harms is stopped, what is honest is served."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chatwright.core.errors import InternalError, InvalidChatTemplate, InvalidValue, Overloaded
from chatwright.rendering import worker
from chatwright.rendering.template import RenderJob
from chatwright.rendering.worker import TemplateWorkerPool, WorkerLimits
from chatwright.workers.pool import Worker

_spec = importlib.util.spec_from_file_location("hostile", Path(__file__).with_name("hostile.py"))
hostile = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(hostile)

HELLO = RenderJob([{"role": "user", "content": "Hello"}])
ECHO = "{{ messages[0].content }}"
FOREVER = hostile.SLOW["nested loops"]
PATIENT = WorkerLimits(total_seconds=30, run_seconds=30, workers=2)
BRIEF = WorkerLimits(total_seconds=60, run_seconds=0.3, workers=2)


@pytest.fixture
async def pool(request):
    made = TemplateWorkerPool(getattr(request, "param", PATIENT))
    await made.start()
    yield made
    await made.close()


def with_limits(limits):
    return pytest.mark.parametrize("pool", [limits], indirect=True)


async def render(pool, source, job=HELLO, max_bytes=2**18):
    return await pool.render(source, {"bos_token": "<s>"}, job, max_bytes)


async def test_worker_renders_as_the_process_itself_does(pool):
    job = RenderJob(HELLO.messages, variables={"mood": "glad", "idle": 1})
    rendered = await render(pool, "{{ bos_token }}{{ mood }} {{ messages[0].content }}é🙂\x01", job)
    assert rendered.text == "<s>glad Helloé🙂\x01"
    assert rendered.unused_variables == ("idle",)


async def test_no_process_runs_before_the_first_job(pool, monkeypatch):
    starts = []
    start = Worker.start
    monkeypatch.setattr(Worker, "start", lambda command: starts.append(command) or start(command))
    assert starts == []
    await render(pool, ECHO)
    assert starts


@with_limits(BRIEF)
async def test_every_hostile_template_is_refused_with_a_reason(pool):
    answers = {}
    for name, source in {**hostile.REFUSED, **hostile.SLOW}.items():
        with pytest.raises(InvalidChatTemplate) as caught:
            await render(pool, source)
        answers[name] = caught.value
    assert all(error.param == "chat_template" for error in answers.values())
    assert all(0 < len(error.message) < 700 for error in answers.values())
    assert not any("Traceback" in error.message or ".py" in error.message for error in answers.values())
    assert (await render(pool, ECHO)).text == "Hello"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ '<b>1 &lt; 2</b>' | striptags }}", "1 < 2"),
        (r"{{ '\N{BULLET}' }}", "•"),
        ("{{ lipsum(n=1)|length > 9 }}", "True"),
    ],
)
async def test_what_filters_load_late_is_there(pool, source, text):
    assert (await render(pool, source)).text == text


@with_limits(BRIEF)
async def test_honest_templates_are_served_beside_endless_ones(pool):
    jobs = [render(pool, source) for source in [FOREVER, ECHO, FOREVER, ECHO, ECHO]]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [getattr(r, "text", type(r)) for r in results] == [
        InvalidChatTemplate, "Hello", InvalidChatTemplate, "Hello", "Hello",
    ]  # fmt: skip


@with_limits(BRIEF)
async def test_event_loop_stays_free_while_a_template_runs_forever(pool):
    ticks = 0
    job = asyncio.ensure_future(render(pool, FOREVER))
    while not job.done():
        await asyncio.sleep(0)
        ticks += 1
    with pytest.raises(InvalidChatTemplate, match=r"0\.3 seconds"):
        job.result()
    assert ticks > 100


@with_limits(WorkerLimits(total_seconds=0.2, run_seconds=30, workers=1))
async def test_waiting_too_long_for_a_worker_is_not_blamed_on_the_template(pool):
    with pytest.raises(Overloaded) as caught:
        await render(pool, FOREVER)
    assert caught.value.retry_after == 1.0


async def test_a_worker_killed_from_outside_costs_one_job_and_is_replaced(pool):
    await render(pool, ECHO)
    job = asyncio.ensure_future(render(pool, FOREVER))
    while len(pool._alive) == 0 or pool._idle.qsize() == len(pool._alive):
        await asyncio.sleep(0)
    for child in list(pool._alive):
        os.kill(child._process.pid, signal.SIGKILL)
    with pytest.raises(InvalidChatTemplate):
        await job
    texts = []
    while len(texts) < 2:
        try:
            texts.append((await render(pool, ECHO)).text)
        except InvalidChatTemplate:  # the idle worker was killed too
            continue
    assert texts == ["Hello", "Hello"]


async def test_a_client_that_goes_away_frees_its_worker(pool):
    job = asyncio.ensure_future(render(pool, FOREVER))
    other = asyncio.ensure_future(render(pool, FOREVER))
    while len(pool._alive) < 2:
        await asyncio.sleep(0)
    job.cancel()
    other.cancel()
    await asyncio.gather(job, other, return_exceptions=True)
    assert (await render(pool, ECHO)).text == "Hello"


async def test_closing_kills_workers_and_refuses_more(pool):
    await render(pool, ECHO)
    pids = [child._process.pid for child in pool._alive]
    await pool.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(Overloaded):
        await render(pool, ECHO)


async def test_closing_ends_a_running_job_with_overloaded(pool):
    job = asyncio.ensure_future(render(pool, FOREVER))
    while not pool._alive or pool._waiting:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    await pool.close()
    with pytest.raises(Overloaded):
        await job


async def test_a_worker_that_cannot_start_is_an_error_of_ours(pool, monkeypatch):
    monkeypatch.setattr(worker, "CHILD", "chatwright.rendering.no_such_module")
    with pytest.raises(InternalError):
        await render(pool, ECHO)
    monkeypatch.undo()
    assert (await render(pool, ECHO)).text == "Hello"


@with_limits(WorkerLimits(total_seconds=30, run_seconds=30, source_characters=30))
async def test_source_length_is_capped_in_characters(pool):
    await render(pool, "{{ messages[0].content }}ééééé")
    with pytest.raises(InvalidChatTemplate, match="30 characters"):
        await render(pool, "{{ messages[0].content }}éééééé")


async def test_output_of_a_template_is_capped(pool):
    with pytest.raises(InvalidChatTemplate, match="more than 4 bytes"):
        await render(pool, ECHO, max_bytes=4)


async def test_errors_other_than_the_templates_keep_their_kind(pool):
    job = RenderJob(HELLO.messages, continue_final_message=True)
    with pytest.raises(InvalidValue) as caught:
        await render(pool, ECHO, job)
    assert caught.value.param == "chat_template_args"


@with_limits(WorkerLimits(total_seconds=30, run_seconds=30, workers=1))
async def test_a_worker_that_stays_large_is_replaced(pool):
    await render(pool, ECHO)
    (before,) = (child._process.pid for child in pool._alive)
    big = {f"v{number}": "y" * 2**22 for number in range(40)}
    await render(pool, ECHO, RenderJob(HELLO.messages, variables=big))
    assert (await render(pool, ECHO)).text == "Hello"
    (after,) = (child._process.pid for child in pool._alive)
    assert before != after


def test_child_can_open_nothing_and_sees_no_environment():
    code = """
import json, os, socket
from chatwright.rendering import worker_process
from chatwright.workers import child
worker_process.warm_up()
child.shut_doors()
def attempt(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return 0
print(json.dumps([attempt(lambda: open("/etc/hostname")), attempt(socket.socket), attempt(lambda: os.pipe())]))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, env={}, check=True, timeout=60
    )
    assert all(json.loads(done.stdout))


def test_child_imports_neither_the_parent_side_nor_the_engine():
    code = "import sys, chatwright.rendering.worker_process; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, check=True, timeout=60)
    loaded = set(done.stdout.decode().split())
    assert "jinja2" in loaded
    assert not loaded & {"msgspec", "asyncio", "numpy", "openvino", "starlette", "chatwright.core.chat"}
