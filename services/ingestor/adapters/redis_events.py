"""Follows jobs through their event streams in Redis."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, cast

from redis.asyncio import Redis

from rag.runtime.errors import Overloaded
from services.ingestor.adapters.redis_jobs import unknown_job
from services.ingestor.adapters.redis_records import events_key, job_key, load_job, reaching_redis
from services.ingestor.jobs import Job, JobEvent, JobState

_BLOCK_MS = 2_000
_COUNT = 100
_MOST_WATCHERS = 48
"""Each holds a connection of the blocking client while it waits."""


class RedisEvents:
    """A `JobEvents`. `blocking` is a client of its own: its connections wait."""

    def __init__(self, blocking: Redis, clock: Callable[[], float] = time.time) -> None:
        self._redis = blocking
        self._clock = clock
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
        finally:
            self._watchers -= 1

    async def _events(self, tenant: str, job_id: str, after: int) -> AsyncGenerator[JobEvent, None]:
        last: Job | None = None
        while True:
            state, sequence = await self._state(tenant, job_id)
            if state is None:
                if last is None:
                    raise unknown_job(job_id)
                if not last.state.is_final:  # erased with its document, between two looks
                    yield JobEvent(after + 1, last.cancelled(self._clock()))
                return
            # Asked before every wait: a job that is finished may be retried, and its last event be known already.
            if state.is_final and sequence <= after:
                return
            for event in await self._read(events_key(tenant, job_id), after):
                after, last = event.sequence, event.job
                yield event

    async def _state(self, tenant: str, job_id: str) -> tuple[JobState | None, int]:
        with reaching_redis():
            state, sequence = await cast("Any", self._redis.hmget(job_key(tenant, job_id), ["state", "sequence"]))
        return JobState(state.decode()) if state else None, int(sequence or 0)

    async def _read(self, key: str, after: int) -> list[JobEvent]:
        with reaching_redis():
            reply: Any = await self._redis.xread({key: f"{after}-0"}, count=_COUNT, block=_BLOCK_MS)
        entries: list[Any] = next(iter(reply.values()), []) if reply else []
        return [JobEvent(int(entry.split(b"-")[0]), load_job(fields[b"job"])) for entry, fields in entries]
