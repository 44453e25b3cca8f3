"""The parent's side: a few children, one job at a time each, killed and replaced where a job passes its budget."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from chatwright.core.errors import BY_CODE, ChatwrightError, InternalError, InvalidRequest, Overloaded

START_SECONDS = 10.0
ANSWER_OVERHEAD = 65536  # bytes an answer may have beside its text


@dataclass(frozen=True)
class PoolLimits:
    """Budgets of one job. Times are wall clock seconds.

    `total_seconds` covers waiting for a worker and the job, `run_seconds` the job alone. With `cpu_seconds`, which the child
    keeps, that is what a job is judged by, and one that merely got too little of a busy machine is not to blame.
    `memory_bytes` is the worker's whole address space, `workers` the most processes at once.
    """

    total_seconds: float = 1.9
    run_seconds: float = 0.8
    cpu_seconds: float | None = None
    memory_bytes: int = 512 * 2**20
    workers: int = 4


@dataclass(frozen=True)
class Subject:
    """What the jobs are about, for messages: `noun` in the singular, the field to blame, and the error for misbehaviour."""

    noun: str
    param: str
    refusal: type[InvalidRequest]

    def refused(self, what: str) -> InvalidRequest:
        """The error of a job that did `what`."""
        return self.refusal(f"The {self.noun} {what}.", param=self.param)


class WorkerPool:
    """Children that run `python -I -m module arguments...`.

    None runs until the first job comes; from then on one is kept ready beside the busy ones, up to the limit.
    A worker that passes its budget is killed and replaced at once.
    """

    def __init__(self, limits: PoolLimits, subject: Subject) -> None:
        self._limits = limits
        self._subject = subject
        self._idle: asyncio.LifoQueue[Worker | None] = asyncio.LifoQueue()
        self._alive: set[Worker] = set()
        self._starting = 0
        self._waiting = 0
        self._background: set[asyncio.Task[None]] = set()
        self._open = False

    def _command(self) -> Sequence[str]:
        """The child's module and arguments."""
        raise NotImplementedError

    async def start(self) -> None:
        """Open the pool; starts no process yet."""
        self._open = True

    async def close(self) -> None:
        """Kill all workers and wait for their end. Jobs still running end with Overloaded."""
        self._open = False
        for worker in list(self._alive):
            self._bury(worker)
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)

    async def run(self, payload: Any, max_answer: int, subject: Subject | None = None) -> dict[str, Any]:
        """Send `payload` as JSON to a worker; `max_answer` bounds its answer in bytes. `subject` is what this job is about,
        where that isn't the pool's own.

        Raises the error that the worker answers, the subject's refusal where the job passes its budget, Overloaded
        where no worker came free.
        """
        answer = await self.attempt(payload, max_answer, subject)
        if "code" in answer:
            raise error_of(answer)
        return answer

    async def attempt(self, payload: Any, max_answer: int, subject: Subject | None = None) -> dict[str, Any]:
        """`run`, but an error that the worker answers is returned: unlike a passed budget it comes again."""
        deadline = asyncio.get_running_loop().time() + self._limits.total_seconds
        frame = await asyncio.to_thread(_frame, payload)
        try:
            async with asyncio.timeout_at(deadline):
                worker = await self._acquire()
        except TimeoutError:
            raise self._overloaded() from None
        about = subject or self._subject
        answer: dict[str, Any] = msgspec.json.decode(
            await self._ask(worker, frame, max_answer, deadline, about)
        )
        if answer["retire"]:
            self._replace(worker)
        else:
            self._idle.put_nowait(worker)
        return answer

    async def _acquire(self) -> Worker:
        if not self._open:
            raise self._overloaded()
        self._waiting += 1
        try:
            self._keep_ready(self._waiting)
            worker = await self._idle.get()
        finally:
            self._waiting -= 1
        if worker is None:
            raise InternalError(f"A worker for {self._subject.noun}s could not be started.")
        self._keep_ready(self._waiting + 1)
        return worker

    def _keep_ready(self, wanted: int) -> None:
        """Start workers until `wanted` are idle or starting, or the limit is reached."""
        for _ in range(wanted - self._idle.qsize() - self._starting):
            self._start_worker()

    async def _ask(
        self, worker: Worker, frame: bytes, max_answer: int, deadline: float, about: Subject
    ) -> bytes:
        """The worker's answer. Whatever goes wrong, also a client that goes away, costs the worker its life."""
        seconds = self._limits.run_seconds
        begin = asyncio.get_running_loop().time()
        latest = min(begin + seconds, deadline)
        try:
            async with asyncio.timeout_at(latest):
                return await worker.ask(frame, max_answer)
        except TimeoutError:
            self._replace(worker)
            starved = self._limits.cpu_seconds is not None
            if starved or latest - begin < seconds / 2:  # it waited too long for a fair try
                raise self._overloaded() from None
            raise about.refused(f"takes longer than the {seconds:g} seconds it may run") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            closing = not self._open
            signal_number = await worker.ended_by()
            self._replace(worker)
            if closing:
                raise self._overloaded() from None
            if signal_number == signal.SIGPROF:
                raise about.refused(
                    f"takes more than the {self._limits.cpu_seconds:g} seconds of computing it may take"
                ) from None
            raise about.refused("broke the limits of its process") from None
        except BaseException:
            self._replace(worker)
            raise

    def _overloaded(self) -> Overloaded:
        subject = self._subject
        return Overloaded(
            f"No worker for {subject.noun}s is free; try again.", param=subject.param, retry_after=1.0
        )

    def _replace(self, worker: Worker) -> None:
        self._bury(worker)
        self._start_worker()

    def _bury(self, worker: Worker) -> None:
        if worker in self._alive:
            self._alive.discard(worker)
            self._run_behind(worker.end())

    def _start_worker(self) -> None:
        if self._open and len(self._alive) + self._starting < self._limits.workers:
            self._starting += 1
            self._run_behind(self._add_worker())

    async def _add_worker(self) -> None:
        try:
            worker = await Worker.start(self._command())
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            if self._waiting:
                self._idle.put_nowait(None)  # tells one of them; a later request tries again
            return
        finally:
            self._starting -= 1
        self._alive.add(worker)
        if self._open:
            self._idle.put_nowait(worker)
        else:
            self._bury(worker)

    def _run_behind(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


class Worker:
    """One child process and the socket to it."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, command: Sequence[str]) -> Worker:
        """Start a child with an empty environment and nothing open but its socket, and wait until it is ready."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await _spawned(command, theirs)
        except BaseException:
            ours.close()
            raise
        worker = cls(process, *await asyncio.open_unix_connection(sock=ours))
        try:
            async with asyncio.timeout(START_SECONDS):
                await worker._read(ANSWER_OVERHEAD)
        except BaseException:
            await worker.end()
            raise
        return worker

    async def ask(self, frame: bytes, max_answer: int) -> bytes:
        """Send a job, read its answer. Raises IncompleteReadError or ConnectionError where the child is gone."""
        self._writer.write(frame)
        await self._writer.drain()
        return await self._read(max_answer)

    async def ended_by(self) -> int:
        """The signal that ended the child; it is killed if it still lives."""
        self._process.kill()
        return -await asyncio.to_thread(self._process.wait)

    async def end(self) -> None:
        """Kill the child and wait until it and its socket are gone."""
        self._process.kill()
        self._writer.transport.abort()
        await asyncio.to_thread(self._process.wait)

    async def _read(self, max_length: int) -> bytes:
        length = int.from_bytes(await self._reader.readexactly(4))
        if length > max_length:
            raise ConnectionError("the worker's answer is longer than any it may give")
        return await self._reader.readexactly(length)


async def _spawned(command: Sequence[str], pipe: socket.socket) -> subprocess.Popen[bytes]:
    """A child with `pipe` as its stdin and stdout. From a thread and by vfork: the event loop's own way copies the page
    tables of this process, 20 ms in which nobody is served.
    """

    def spawn() -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  our own interpreter and module
            [sys.executable, "-I", "-m", *command],
            stdin=pipe.fileno(), stdout=pipe.fileno(), stderr=subprocess.DEVNULL, env={}, cwd="/", start_new_session=True,
        )  # fmt: skip

    spawning = asyncio.create_task(asyncio.to_thread(spawn))
    try:
        return await asyncio.shield(spawning)
    except asyncio.CancelledError:
        process = await spawning
        process.kill()
        process.wait()
        raise


def error_of(answer: dict[str, Any]) -> ChatwrightError:
    """The error that a worker answered."""
    return BY_CODE[answer["code"]](answer["message"], param=answer["param"])


def _frame(payload: Any) -> bytes:
    body = msgspec.json.encode(payload)
    return len(body).to_bytes(4) + body
