"""The ends of jobs that are still to be told, in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis

from services.ingestor.adapters.redis_records import reaching_redis
from services.ingestor.webhooks import Ended

ENDED = "rag:ingest:ended"
ENDED_TRIES = "rag:ingest:ended_tries"
_HELD_MS = 60_000

# KEYS: ended, tries; ARGV: now ms, held until ms. Holds the first that is due: whoever dies with it gives it back by time.
_DUE = """
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 1)
if #found == 0 then return false end
redis.call('ZADD', KEYS[1], ARGV[2], found[1])
return {found[1], redis.call('HINCRBY', KEYS[2], found[1], 1)}
"""


class RedisEndedJobs:
    """An `EndedJobs`: a sorted set of `tenant/job/sequence` by when each is due, filled by the script that ends a job."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._clock = clock
        self._due = redis.register_script(_DUE)

    async def due(self) -> Ended | None:
        """The next one, held for a minute."""
        now = int(self._clock() * 1000)
        with reaching_redis():
            found: Any = await self._due(keys=[ENDED, ENDED_TRIES], args=[now, now + _HELD_MS])
        if not found:
            return None
        member, tries = found[0].decode(), int(found[1])
        tenant, job_id, sequence = member.split("/")
        return Ended(f"{job_id}-{sequence}", tenant, job_id, tries)

    async def later(self, ended: Ended, pause_s: float) -> None:
        """Make it due again after a pause."""
        due = int((self._clock() + pause_s) * 1000)
        with reaching_redis():
            await self._redis.zadd(ENDED, {_member(ended): due}, xx=True)

    async def done(self, ended: Ended) -> None:
        """Forget it."""
        with reaching_redis():
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.zrem(ENDED, _member(ended))
                pipeline.hdel(ENDED_TRIES, _member(ended))
                await pipeline.execute()


def _member(ended: Ended) -> str:
    sequence = ended.id.rpartition("-")[2]
    return f"{ended.tenant}/{ended.job_id}/{sequence}"
