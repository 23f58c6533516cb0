"""The books in Redis, shared by all gateways; each act is one script and runs by the clock of Redis.

Keys of a tenant: `rag:<tenant>:limits:rate` (text: when its calls are paid off, in microseconds since 1970), `...:slots` (sorted set: what
running calls hold, as `id:stream:upload:tokens:micros`, by the microsecond in which it frees itself), `...:day` (hash: day, requests,
tokens, micros, and the most that one answer took of either).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio import Redis

from rag.ids import new_id
from rag.runtime.redis import reached
from services.gateway.limits.ledger import RETRY_US, Ask, Refusal, Spent, Totals, Verdict

_LEASE_S = 30.0
_RENEWALS = 3
_DAYS_S = 2 * 86_400

# KEYS: rate, slots, day.
_RULES = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local today = string.format('%d', math.floor(time[1] / 86400))

local function turn_the_page()
  if redis.call('HGET', KEYS[3], 'day') ~= today then
    redis.call('DEL', KEYS[3])
    redis.call('HSET', KEYS[3], 'day', today)
  end
end

local function booked(field)
  if redis.call('HGET', KEYS[3], 'day') ~= today then return 0 end
  return tonumber(redis.call('HGET', KEYS[3], field) or '0')
end

local function backlog() return math.max(0, tonumber(redis.call('GET', KEYS[1]) or '0') - now) end

local function held()
  local streams, uploads, tokens, micros = 0, 0, 0, 0
  local most_tokens, most_micros = booked('most_tokens'), booked('most_micros')
  for _, slot in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', now), '+inf')) do
    local s, u, t, m = string.match(slot, ':(%d+):(%d+):(%d+):(%d+)$')
    streams, uploads = streams + s, uploads + u
    if t ~= '0' then
      -- What an answer of today took, the others may take too, those that hold less since before it.
      tokens, micros = tokens + math.max(t, most_tokens), micros + math.max(m, most_micros)
    end
  end
  return streams, uploads, tokens, micros
end
"""

# ARGV: microseconds of a call and of a burst (0 for no limit), id of the slot (empty for none), stream, upload, tokens, micros, most
# streams, tokens and micros a day (-1 for no limit), microseconds of the lease and of a wait for what others hold, seconds of the day's
# key. Returns a refusal or '', the wait, the backlog, the slot, uploads.
_TAKE = (
    _RULES
    + """
local period, burst, behind = tonumber(ARGV[1]), tonumber(ARGV[2]), backlog()
if period > 0 then
  if behind + period > burst then return {'RATE_LIMITED', behind + period - burst, behind, '', 0} end
  behind = behind + period
  redis.call('SET', KEYS[1], string.format('%.0f', now + behind), 'PX', math.ceil(behind / 1000))
end
local slot, uploads = '', 0
if ARGV[3] ~= '' then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
  local streams, tokens, micros
  streams, uploads, tokens, micros = held()
  if ARGV[4] == '1' and tonumber(ARGV[8]) >= 0 and streams >= tonumber(ARGV[8]) then
    return {'TOO_MANY_STREAMS', tonumber(ARGV[12]), behind, '', 0}
  end
  local most_tokens, most_micros = tonumber(ARGV[6]), tonumber(ARGV[7])
  if most_tokens > 0 then
    local midnight = 86400000000 - now % 86400000000
    for at, budget in ipairs({{'tokens', tokens, 'TOKENS_SPENT'}, {'micros', micros, 'COST_SPENT'}}) do
      local limit, spent = tonumber(ARGV[8 + at]), booked(budget[1])
      if limit >= 0 and spent >= limit then return {budget[3], midnight, behind, '', 0} end
      if limit >= 0 and spent + budget[2] >= limit then return {budget[3], tonumber(ARGV[12]), behind, '', 0} end
    end
  end
  slot = string.format('%s:%s:%s:%d:%d', ARGV[3], ARGV[4], ARGV[5], most_tokens, most_micros)
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[11]), slot)
  redis.call('PEXPIRE', KEYS[2], math.ceil(ARGV[11] / 1000))
end
turn_the_page()
redis.call('HINCRBY', KEYS[3], 'requests', 1)
redis.call('EXPIRE', KEYS[3], ARGV[13])
return {'', 0, behind, slot, uploads}
"""
)

# ARGV: slot, tokens, micros, seconds of the day's key.
_GIVE_BACK = (
    _RULES
    + """
redis.call('ZREM', KEYS[2], ARGV[1])
if ARGV[2] == '0' and ARGV[3] == '0' then return end
turn_the_page()
for at, field in ipairs({'tokens', 'micros'}) do
  redis.call('HINCRBY', KEYS[3], field, ARGV[1 + at])
  if tonumber(ARGV[1 + at]) > booked('most_' .. field) then redis.call('HSET', KEYS[3], 'most_' .. field, ARGV[1 + at]) end
end
redis.call('EXPIRE', KEYS[3], ARGV[4])
"""
)

_TOTALS = _RULES + "return {booked('requests'), booked('tokens'), booked('micros'), (held()), backlog()}"

# ARGV: microseconds of the lease, slots. One that freed itself stays free.
_RENEW = (
    _RULES
    + """
for at = 2, #ARGV do redis.call('ZADD', KEYS[2], 'XX', string.format('%.0f', now + ARGV[1]), ARGV[at]) end
redis.call('PEXPIRE', KEYS[2], math.ceil(ARGV[1] / 1000))
"""
)


class RedisLimits:
    """The books of all gateways together. What a gateway holds that died frees itself when its lease ends.

    Args:
        redis: Where the books are.
        lease_s: How long a slot lasts that is not renewed, in seconds.
        sleep: Waits between renewals.
    """

    def __init__(
        self, redis: Redis, lease_s: float = _LEASE_S, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._lease_s = lease_s
        self._sleep = sleep
        self._take = redis.register_script(_TAKE)
        self._give_back = redis.register_script(_GIVE_BACK)
        self._totals = redis.register_script(_TOTALS)
        self._renew = redis.register_script(_RENEW)
        self._held: dict[str, str] = {}

    async def take(self, tenant: str, ask: Ask) -> Verdict:
        """Take a call on, or refuse it.

        Raises:
            Unavailable: LIMITS_UNAVAILABLE.
        """
        args = [*_args(ask), self._lease_us, RETRY_US, _DAYS_S]
        with _translated():
            refusal, wait_us, backlog_us, slot, uploads = await self._take(keys=_keys(tenant), args=args)
        if slot:
            self._held[slot.decode()] = tenant
        name = refusal.decode()
        return Verdict(Refusal(name) if name else None, wait_us, backlog_us, slot.decode(), uploads)

    async def give_back(self, tenant: str, slot: str, spent: Spent) -> None:
        """End what a call holds.

        Raises:
            Unavailable: LIMITS_UNAVAILABLE.
        """
        self.let_go(slot)
        with _translated():
            await self._give_back(keys=_keys(tenant), args=[slot, spent.tokens, spent.micros, _DAYS_S])

    def let_go(self, slot: str) -> None:
        """Renew a slot no more: it frees itself when its lease ends."""
        self._held.pop(slot, None)

    async def totals(self, tenant: str) -> Totals:
        """Return a tenant's books.

        Raises:
            Unavailable: LIMITS_UNAVAILABLE.
        """
        with _translated():
            requests, tokens, micros, streams, backlog_us = await self._totals(keys=_keys(tenant))
        return Totals(requests, Spent(tokens, micros), streams, backlog_us)

    async def renew(self) -> None:
        """Make what this process holds last for another lease.

        Raises:
            Unavailable: LIMITS_UNAVAILABLE.
        """
        of: dict[str, list[str]] = {}
        for slot, tenant in self._held.items():
            of.setdefault(tenant, []).append(slot)
        for tenant, slots in of.items():
            with _translated():
                await self._renew(keys=_keys(tenant), args=[self._lease_us, *slots])

    async def pause(self) -> None:
        """Wait until it is time to renew again."""
        await self._sleep(self._lease_s / _RENEWALS)

    @property
    def _lease_us(self) -> int:
        return int(self._lease_s * 1_000_000)


def _args(ask: Ask) -> Sequence[str | int]:
    limits = ask.limits
    most = (limits.streams, limits.tokens_per_day, limits.cost_micros_per_day)
    return [
        limits.period_us,
        limits.period_us * limits.burst,
        new_id("slot") if ask.holds else "",
        int(ask.is_stream),
        int(ask.is_upload),
        ask.reserve.tokens,
        ask.reserve.micros,
        *(-1 if limit is None else limit for limit in most),
    ]


def _keys(tenant: str) -> list[str]:
    return [f"rag:{tenant}:limits:{name}" for name in ("rate", "slots", "day")]


def _translated() -> Any:
    return reached("The limits cannot be looked up.", "LIMITS_UNAVAILABLE")
