"""Buckets that several processes share: levels in Redis, each operation one Lua script and so atomic.

A rate bucket is a hash {level, at} that expires once it has drained. A concurrency bucket is a sorted set of
reservations by the end of their lease; the process that holds one renews it, so slots of a killed process
come free by themselves. Time is that of the Redis server. All names carry one hash tag, so a cluster keeps
them together.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any

from chatwright.accounts.buckets import Charge, Decision
from chatwright.accounts.clock import Clock
from chatwright.core.errors import Overloaded

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.commands.core import AsyncScript

LEASE_MS = 60_000
"""How long a killed process keeps its concurrency slots."""

_CONNECTIONS = 16
_PATIENCE = 2.0
"""Seconds a caller waits for its turn at one of the connections."""

# KEYS: the buckets. ARGV: operation, reservation, lease, time (empty: the server's), then kind, limit, amount
# of each. Numbers stay below 2^53 (limits are at most 10^10), where Lua's doubles are exact.
_SCRIPT = """
local operation, reservation, lease, now = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local UNITS = 60000

local function level_of(key, kind, limit)
  if kind == 'concurrency' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    return redis.call('ZCARD', key)
  end
  local kept = redis.call('HMGET', key, 'level', 'at')
  if not kept[1] then return 0 end
  local elapsed = math.max(0, now - tonumber(kept[2]))
  return math.max(0, tonumber(kept[1]) - limit * elapsed)
end

local function keep(key, limit, level)
  if level <= 0 or limit <= 0 then return redis.call('DEL', key) end
  redis.call('HSET', key, 'level', string.format('%.0f', level), 'at', string.format('%.0f', now))
  redis.call('PEXPIRE', key, math.ceil(level / limit) + 1)
end

local levels, fits = {}, true
for i, key in ipairs(KEYS) do
  local kind, limit, amount = ARGV[3 * i + 2], tonumber(ARGV[3 * i + 3]), tonumber(ARGV[3 * i + 4])
  levels[i] = level_of(key, kind, limit)
  local unit = kind == 'concurrency' and 1 or UNITS
  if levels[i] + amount * unit > limit * unit then fits = false end
end
if operation == 'look' or (operation == 'take' and not fits) then return {0, levels} end

for i, key in ipairs(KEYS) do
  local kind, limit, amount = ARGV[3 * i + 2], tonumber(ARGV[3 * i + 3]), tonumber(ARGV[3 * i + 4])
  if kind ~= 'concurrency' then
    if operation == 'give_back' then amount = -amount end
    levels[i] = math.max(0, levels[i] + amount * UNITS)
    keep(key, limit, levels[i])
  elseif operation == 'take' then
    redis.call('ZADD', key, now + lease, reservation)
    redis.call('PEXPIRE', key, lease)
    levels[i] = levels[i] + 1
  elseif amount > 0 then
    levels[i] = levels[i] - redis.call('ZREM', key, reservation)
  end
end
return {1, levels}
"""

_RENEW = """
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
for i, key in ipairs(KEYS) do
  redis.call('ZADD', key, 'XX', now + tonumber(ARGV[1]), ARGV[i + 2])
  redis.call('PEXPIRE', key, ARGV[1])
end
"""


class RedisBuckets:
    """Levels in Redis. Fails closed: while Redis is away nothing is admitted."""

    def __init__(self, client: Redis, *, lease_ms: int = LEASE_MS, clock: Clock | None = None) -> None:
        """`client` is this object's own from now on; `clock` replaces the server's time, for tests."""
        self._client = client
        self._lease_ms = lease_ms
        self._clock = clock
        self._script: AsyncScript = client.register_script(_SCRIPT)
        self._renew_script: AsyncScript = client.register_script(_RENEW)
        self._slots: dict[str, list[str]] = {}  # reservation -> its concurrency buckets
        self._renewing: asyncio.Task[None] | None = None
        self._turns = asyncio.Semaphore(
            _CONNECTIONS
        )  # in the order of asking; the driver's pool lets some starve

    @classmethod
    def connect(cls, url: str, *, clock: Clock | None = None) -> RedisBuckets:
        """Use `redis://`, `rediss://` or `unix://`. Raises ValueError for a bad URL or a missing driver."""
        try:
            from redis.asyncio import BlockingConnectionPool, Redis  # noqa: PLC0415  # an extra
        except ImportError:
            raise ValueError("Redis needs the extra chatwright[redis]") from None
        options = {"max_connections": _CONNECTIONS + 1, "socket_timeout": 2.0, "socket_connect_timeout": 2.0}
        return cls(Redis.from_pool(BlockingConnectionPool.from_url(url, timeout=2, **options)), clock=clock)

    async def take(self, reservation: str, charges: Sequence[Charge]) -> Decision:
        """Charge every bucket, or none."""
        admitted, levels = await self._run("take", reservation, charges)
        slots = [_name(charge) for charge in charges if charge.kind == "concurrency"]
        if admitted and slots:
            self._slots[reservation] = slots
            if self._renewing is None:
                self._renewing = asyncio.create_task(self._renew_for_ever())
        return Decision(bool(admitted), tuple(levels))

    async def give_back(self, reservation: str, charges: Sequence[Charge]) -> tuple[int, ...]:
        """Take amounts off again."""
        self._slots.pop(reservation, None)
        return tuple((await self._run("give_back", reservation, charges))[1])

    async def look(self, charges: Sequence[Charge]) -> tuple[int, ...]:
        """The levels now."""
        return tuple((await self._run("look", "", charges))[1])

    async def close(self) -> None:
        """Stop renewing and close the connections."""
        if self._renewing is not None:
            self._renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewing
        await self._client.aclose()

    async def _run(
        self, operation: str, reservation: str, charges: Sequence[Charge]
    ) -> tuple[int, list[int]]:
        arguments: list[str | int] = [operation, reservation, self._lease_ms, self._now()]
        for charge in charges:
            arguments += [charge.kind, charge.limit, charge.amount]
        await self._turn()
        try:
            admitted, levels = await _reached(self._script([_name(charge) for charge in charges], arguments))
        finally:
            self._turns.release()
        return admitted, levels

    async def _turn(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._turns.acquire()
        except TimeoutError:
            raise Overloaded("the rate limits can't be checked at the moment", retry_after=1.0) from None

    async def renew(self) -> None:
        """Prolong the lease of every slot held here."""
        held = [(slot, reservation) for reservation, slots in self._slots.items() for slot in slots]
        if held:
            keys, reservations = zip(*held, strict=True)
            await _reached(self._renew_script(keys, [self._lease_ms, self._now(), *reservations]))

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._lease_ms / 3000)
            with contextlib.suppress(Overloaded):
                await self.renew()

    def _now(self) -> int | str:
        return "" if self._clock is None else self._clock()


def _name(charge: Charge) -> str:
    return f"{{chatwright}}:{charge.kind}:{charge.subject}"


async def _reached(answer: Awaitable[Any]) -> Any:
    from redis.exceptions import RedisError  # noqa: PLC0415  # an extra

    try:
        return await answer
    except (RedisError, OSError) as error:
        raise Overloaded("the rate limits can't be checked at the moment", retry_after=1.0) from error
