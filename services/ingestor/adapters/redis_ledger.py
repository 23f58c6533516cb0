"""Compares jobs with their queue in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from services.ingestor.adapters.redis_records import UNFINISHED, job_key, reaching_redis
from services.ingestor.adapters.redis_scripts import PRELUDE
from services.ingestor.jobs import JobState

_PAGE = 200

_REPAIR = (
    PRELUDE
    + """
-- ARGV tenant, job id. Puts an unfinished job that nothing leads to back in the queue; returns 1 when it did.
local tenant, id = ARGV[1], ARGV[2]
local kept = redis.call('HMGET', key(tenant, 'job', id), 'state', 'entry', 'document', 'accepted_us')
if not kept[1] or FINAL[kept[1]] then redis.call('ZREM', UNFINISHED, tenant .. '/' .. id) return 0 end
if kept[2] and #redis.call('XRANGE', QUEUE, kept[2], kept[2]) == 1 then return 0 end
local turn = key(tenant, 'turn', kept[3])
local first = redis.call('GET', turn)
if first and first ~= id then
  local state = redis.call('HGET', key(tenant, 'job', first), 'state')
  if state and not FINAL[state] then return 0 end -- it waits for its turn
end
redis.call('ZADD', key(tenant, 'turns', kept[3]), kept[4], id)
redis.call('SET', turn, id)
enqueue(tenant, id)
return 1
"""
)


class RedisLedger:
    """A `Ledger`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._repair = redis.register_script(_REPAIR)

    async def states(self, names: Sequence[str]) -> Sequence[JobState | None]:
        """The state of each job, in one round trip."""
        pipe = self._redis.pipeline(transaction=False)
        for name in names:
            pipe.hget(job_key(*name.split("/")), "state")
        with reaching_redis():
            states = await pipe.execute() if names else []
        return [JobState(state.decode()) if state else None for state in states]

    async def requeue_stranded(self) -> int:
        """Look at every unfinished job, the earliest first, so that it gets the turn before the later ones."""
        repaired, start = 0, 0
        with reaching_redis():
            while members := await self._members(start):
                for member in members:
                    repaired += int(await self._repair(args=member.split("/")))
                start += len(members)
        return repaired

    async def _members(self, start: int) -> list[str]:
        found: Any = await self._redis.zrange(UNFINISHED, start, start + _PAGE - 1)
        return [member.decode() for member in found]
