"""Follows jobs through their event streams in Redis."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from redis.asyncio import Redis

from rag.runtime.errors import Overloaded
from services.ingestor.adapters.redis_jobs import unknown_job
from services.ingestor.adapters.redis_records import events_key, job_key, load_job, reaching_redis
from services.ingestor.jobs import JobEvent, JobState

_BLOCK_MS = 2_000
_COUNT = 100
_MOST_WATCHERS = 48
"""Each holds a connection of the blocking client while it waits."""


class RedisEvents:
    """A `JobEvents`. `blocking` is a client of its own: its connections wait."""

    def __init__(self, blocking: Redis) -> None:
        self._redis = blocking
        self._watchers = 0

    async def watch(self, tenant: str, job_id: str, after_sequence: int) -> AsyncGenerator[JobEvent, None]:
        """Events after a sequence number until the job's last."""
        if self._watchers >= _MOST_WATCHERS:
            raise Overloaded("Too many jobs are being watched.", "TOO_MANY_WATCHERS", 2.0)
        self._watchers += 1
        try:
            async with aclosing(self._events(tenant, job_id, after_sequence)) as events:
                async for event in events:
                    yield event
                    if event.job.state.is_final:
                        return
        finally:
            self._watchers -= 1

    async def _events(self, tenant: str, job_id: str, after: int) -> AsyncGenerator[JobEvent, None]:
        while not await self._is_over(tenant, job_id, after):
            for event in await self._read(events_key(tenant, job_id), after):
                after = event.sequence
                yield event

    async def _is_over(self, tenant: str, job_id: str, after: int) -> bool:
        """Whether no event follows; asked before every wait, because the last one may be known to the watcher."""
        with reaching_redis():
            kept: Any = await self._redis.hmget(job_key(tenant, job_id), ["state", "sequence"])
        state, sequence = kept
        if state is None or sequence is None:
            raise unknown_job(job_id)
        return JobState(state.decode()).is_final and int(sequence) <= after

    async def _read(self, key: str, after: int) -> list[JobEvent]:
        with reaching_redis():
            reply: Any = await self._redis.xread({key: f"{after}-0"}, count=_COUNT, block=_BLOCK_MS)
        entries: list[Any] = next(iter(reply.values()), []) if reply else []
        return [JobEvent(int(entry.split(b"-")[0]), load_job(fields[b"job"])) for entry, fields in entries]
