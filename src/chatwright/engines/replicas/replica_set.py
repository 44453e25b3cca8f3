"""`ReplicaSet`: several engines of one model as one, which outlives each of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

from chatwright.core.engine import Engine, EngineInfo, EngineStats, TellsLoad
from chatwright.core.errors import DeadlineExceeded, EngineFailed, Overloaded
from chatwright.core.generation import GenerationRequest, TokenChunk
from chatwright.engines.replicas.agreement import agreed_info, summed
from chatwright.engines.replicas.contexts import Contexts
from chatwright.engines.replicas.member import Member
from chatwright.engines.replicas.routing import CacheAwareRouter, Router

log = logging.getLogger("chatwright.engine")

MOST_DEATHS = 3
"""Members that may fail while they hold one request; it may be what kills them, and others need the rest."""
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
"""Pauses between attempts to start a member that didn't."""


class ReplicaSet:
    """An `Engine` over named engines. Members are its own: it starts them, and closes them when they leave.

    A request goes to another member where one refuses it or fails before the first token, never to the same one twice;
    after a token a failure is the client's to hear.
    """

    def __init__(
        self,
        members: Mapping[str, Engine] | None = None,
        *,
        router: Router | None = None,
        info: EngineInfo | None = None,
        contexts: Contexts | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`info` is what members must agree with, known before any has started; `contexts` says where the first halves of
        requests lie, and who can read them. `clock` gives Unix time.
        """
        self._contexts = contexts or Contexts()
        self._router = router or CacheAwareRouter()
        self._expected = info
        self._clock = clock
        self._members = {name: Member(name, engine) for name, engine in (members or {}).items()}
        self._infos: dict[str, EngineInfo] = {}
        self._info = info
        self._active = 0
        self._open = False
        self._joining: set[str] = set()
        self._starting: dict[str, asyncio.Task[None]] = {}

    @property
    def info(self) -> EngineInfo:
        """What all started members agree on; as expected before that."""
        assert self._info is not None, "start() first"
        return self._info

    @property
    def ready(self) -> bool:
        """Whether any member is."""
        return any(member.engine.ready for member in self._members.values())

    @property
    def active(self) -> int:
        """Requests of this set, wherever they are."""
        return self._active

    @property
    def members(self) -> Mapping[str, Member]:
        """Those that may be chosen, by name."""
        return self._members

    async def start(self) -> None:
        """Start all members; those that fail are tried again later. Raises EngineFailed where none starts, or two can't
        stand for each other. A set without members starts empty.
        """
        self._open = True
        members = list(self._members.values())
        results = await asyncio.gather(*(_start(member.engine) for member in members), return_exceptions=True)
        try:
            failed = [error for error in results if isinstance(error, BaseException)]
            unforeseen = [error for error in failed if not isinstance(error, EngineFailed)]
            if unforeseen or (failed and len(failed) == len(members)):
                raise (unforeseen or failed)[0]
            for member, result in zip(members, results, strict=True):
                if result is None:
                    self._join(member)
                else:
                    log.error("replica %s can't start: %s", member.name, result)
                    self._start_later(member)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End all members; what still runs fails. It can be started again."""
        self._open = False
        tasks = list(self._starting.values())
        self._starting.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(member.engine.close() for member in self._members.values()))

    async def add(self, name: str, engine: Engine) -> None:
        """Take a member in, started if it isn't. Raises ValueError where the name is taken, EngineFailed where it doesn't
        start or can't stand for the others: it is closed then.
        """
        if name in self._members or name in self._joining:
            raise ValueError(f"there is a replica called {name!r} already")
        member = Member(name, engine)
        if self._open:
            self._joining.add(name)
            try:
                await _start(engine)
                if not self._open:
                    raise EngineFailed("The server is shutting down.")
                self._join(member)
            except BaseException:
                await engine.close()
                raise
            finally:
                self._joining.remove(name)
        self._members[name] = member

    async def remove(self, name: str) -> None:
        """Send a member nothing more, wait for what it does, close it. Raises KeyError where there is none."""
        member = self._members.pop(name)
        self._infos.pop(name, None)
        self._router.forget(name)
        task = self._starting.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._agree()
        try:
            await member.idle.wait()
        finally:
            await member.engine.close()

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
        """See `Engine.generate`."""
        self._active += 1
        try:
            async with aclosing(self._attempts(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self._active -= 1

    async def _attempts(self, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
        """One member after the other, until one gives a token or an end."""
        errors: dict[str, EngineFailed | Overloaded] = {}
        while True:
            member = self._choose(request, errors)
            begun = False
            try:
                with member.serving(request) as first_token:
                    await self._contexts.bring(request.handoff, member.name)
                    async with aclosing(_from_first_token(member.engine, request)) as chunks:
                        async for chunk in chunks:
                            if not begun:
                                begun = True
                                first_token()
                            self._contexts.note(request.handoff, member.name, chunk)
                            yield chunk
                return
            except (EngineFailed, Overloaded) as error:
                member.failures += isinstance(error, EngineFailed)
                if not member.engine.ready:
                    self._router.forget(member.name)
                if begun or not self._open:
                    raise
                errors[member.name] = error
            if request.deadline is not None and self._clock() > request.deadline:
                raise DeadlineExceeded("The request's deadline passed before an engine could serve it.")

    def _choose(self, request: GenerationRequest, errors: Mapping[str, EngineFailed | Overloaded]) -> Member:
        """Who is next. Raises what `errors` come to where nobody is."""
        deaths = sum(isinstance(error, EngineFailed) for error in errors.values())
        loads = {
            name: member.load
            for name, member in self._members.items()
            if name not in errors and member.engine.ready
        }
        if not loads or deaths >= MOST_DEATHS:
            raise _sum_up(list(errors.values()))
        only = self._contexts.only_reader(request.handoff)
        name = only if only in loads else self._router.choose(request, loads)
        self._router.sent(request, name)
        return self._members[name]

    def overload(self, waiting_share: float, coming: int) -> Overloaded | None:
        """See `TellsLoad`: where every member that is ready is known to be full."""
        ready = [member.engine for member in self._members.values() if member.engine.ready]
        found: list[Overloaded] = []
        for engine in ready:
            share = coming // len(ready)
            full = engine.overload(waiting_share, share) if isinstance(engine, TellsLoad) else None
            if full is None:
                return None
            found.append(full)
        return _soonest(found) if found else None

    async def stats(self) -> EngineStats:
        """The sum of all members'."""
        return summed(await asyncio.gather(*(member.engine.stats() for member in self._members.values())))

    # -- who belongs to it --------------------------------------------------------------------------------------

    def _join(self, member: Member) -> None:
        """Raises EngineFailed where it can't stand for the others."""
        self._infos[member.name] = member.engine.info
        try:
            self._agree()
        except EngineFailed:
            del self._infos[member.name]
            raise

    def _agree(self) -> None:
        self._info = agreed_info(self._infos, self._expected) or self._info

    def _start_later(self, member: Member) -> None:
        self._starting[member.name] = asyncio.create_task(self._keep_starting(member))

    async def _keep_starting(self, member: Member) -> None:
        """Until it starts."""
        attempt = 0
        while True:
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            attempt += 1
            try:
                await _start(member.engine)
                self._join(member)
            except EngineFailed as error:
                log.error("replica %s can't start: %s", member.name, error.message)
                with contextlib.suppress(EngineFailed):
                    await member.engine.close()
            else:
                return


async def _start(engine: Engine) -> None:
    if not engine.ready:
        await engine.start()


async def _from_first_token(engine: Engine, request: GenerationRequest) -> AsyncGenerator[TokenChunk]:
    """The engine's chunks; those without a token wait for the first one that has any, or an end. Raises EngineFailed where
    there is neither.
    """
    held: list[TokenChunk] = []
    begun = False
    async with aclosing(engine.generate(request)) as chunks:
        async for chunk in chunks:
            held.append(chunk)
            begun = begun or bool(chunk.token_ids) or chunk.finish is not None
            while begun and held:
                yield held.pop(0)
    if not begun:
        raise EngineFailed("The engine ended its answer before it began.")


def _sum_up(errors: list[EngineFailed | Overloaded]) -> EngineFailed | Overloaded:
    """What the client hears: to come again where that helps, as soon as anybody said."""
    refusals = [error for error in errors if isinstance(error, Overloaded)]
    if refusals:
        return _soonest(refusals)
    return (
        errors[-1] if errors else Overloaded("No replica is ready; try again in a moment.", retry_after=2.0)
    )


def _soonest(refusals: list[Overloaded]) -> Overloaded:
    return min(refusals, key=lambda error: (error.retry_after is None, error.retry_after))
