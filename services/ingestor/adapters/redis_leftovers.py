"""The documents of which vectors may be left, in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis

from services.ingestor.adapters.redis_records import reaching_redis
from services.ingestor.forgetting import Leftover

LEFTOVERS = "rag:ingest:leftovers"
_HELD_MS = 10_000

# KEYS: leftovers; ARGV: now ms, held until ms. A document's jobs that are not at their end stand in its `turns`.
_DUE = """
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 1)
if #found == 0 then return false end
redis.call('ZADD', KEYS[1], ARGV[2], found[1])
local tenant, document = string.match(found[1], '^([^/]+)/([^/]+)')
return {found[1], redis.call('EXISTS', 'rag:' .. tenant .. ':turns:' .. document)}
"""

# KEYS: leftovers; ARGV: name, score with which it was given out
_DONE = """
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if score and tonumber(score) == tonumber(ARGV[2]) then redis.call('ZREM', KEYS[1], ARGV[1]) end
"""


class RedisLeftovers:
    """A `Leftovers`: a sorted set of `tenant/document` by when each is due.

    The script that ends a job which was called off adds two: one for now, and `tenant/document/later` for when no worker
    can be at it any more.
    """

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._clock = clock
        self._due = redis.register_script(_DUE)
        self._done = redis.register_script(_DONE)

    async def add(self, tenant: str, document_id: str) -> None:
        """Make it due now."""
        with reaching_redis():
            await self._redis.zadd(LEFTOVERS, {f"{tenant}/{document_id}": self._now_ms()})

    async def due(self) -> Leftover | None:
        """The next one, held for ten seconds."""
        now = self._now_ms()
        with reaching_redis():
            found: Any = await self._due(keys=[LEFTOVERS], args=[now, now + _HELD_MS])
        if not found:
            return None
        name = found[0].decode()
        tenant, document_id, *_ = name.split("/")
        return Leftover(name, tenant, document_id, now + _HELD_MS, busy=bool(found[1]))

    async def done(self, leftover: Leftover) -> None:
        """Drop it in one step, if its score is still ours."""
        with reaching_redis():
            await self._done(keys=[LEFTOVERS], args=[leftover.name, leftover.held_until])

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
