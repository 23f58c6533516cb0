"""Calls off, retries and erases jobs in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from redis.asyncio import Redis

from rag.runtime.errors import Conflict
from services.ingestor.adapters import redis_control_scripts as scripts
from services.ingestor.adapters.redis_jobs import queue_full, unknown_job
from services.ingestor.adapters.redis_records import dump, job_key, load_job, load_lease, made_key, reaching_redis
from services.ingestor.jobs import Job, Lease
from services.ingestor.retrying import check_retryable

_MOST_READS = 5


class RedisControl:
    """A `Takeovers`, a `Retries` and a `DocumentJobs`.

    Args:
        redis: Where the jobs are.
        lease_ms: How long nobody follows whoever took a job over.
        max_queued: How many unfinished jobs there may be.
        clock: Unix seconds.
    """

    def __init__(
        self, redis: Redis, lease_ms: int, max_queued: int = 10_000, clock: Callable[[], float] = time.time
    ) -> None:
        self._redis = redis
        self._lease_us = lease_ms * 1000
        self._max_queued = max_queued
        self._clock = clock
        self._take_over = redis.register_script(scripts.TAKE_OVER)
        self._retry = redis.register_script(scripts.RETRY)
        self._erase = redis.register_script(scripts.ERASE)

    async def take_over(self, tenant: str, job_id: str) -> Lease:
        """Mark the job as called off and fence its worker, in one script."""
        with reaching_redis():
            reply: Any = await self._take_over(args=[tenant, job_id, self._lease_us])
        if not reply:
            raise unknown_job(job_id)
        return load_lease(reply)

    async def is_called_off(self, tenant: str, job_id: str) -> bool:
        """Whether the job bears the mark of `take_over`, ended by it, or is gone."""
        with reaching_redis():
            state, mark = await cast("Any", self._redis.hmget(job_key(tenant, job_id), ["state", "cancel"]))
        return bool(mark) or state in {None, b"cancelled"}

    async def retry(self, tenant: str, job_id: str, password: str) -> Job:
        """Queue the job unless it changed since it was read; then read it again."""
        mine: Job | None = None
        for _ in range(_MOST_READS):
            job, sequence = await self._read(tenant, job_id)
            if job == mine:  # the answer was lost on the way
                return job
            check_retryable(job)
            mine = job.retried(self._clock())
            with reaching_redis():
                args: list[Any] = [tenant, job_id, sequence, dump(mine), password, self._max_queued]
                outcome: Any = await self._retry(args=args)
            if outcome == b"queued":
                return mine
            if outcome == b"full":
                raise queue_full()
        raise Conflict("The job changes all the time; try again.", "JOB_CHANGED")

    async def of_document(self, tenant: str, document_id: str, until_us: int) -> list[str]:
        """The ids of the document's jobs up to a moment."""
        with reaching_redis():
            ids: Any = await self._redis.zrangebyscore(made_key(tenant, document_id), "-inf", until_us)
        return [raw.decode() for raw in ids]

    async def erase(self, tenant: str, document_id: str, job_id: str) -> bool:
        """Erase a finished job in one script."""
        with reaching_redis():
            return bool(await self._erase(args=[tenant, job_id, document_id]))

    async def _read(self, tenant: str, job_id: str) -> tuple[Job, int]:
        with reaching_redis():
            kept: Any = await self._redis.hmget(job_key(tenant, job_id), ["job", "sequence"])
        if kept[0] is None:
            raise unknown_job(job_id)
        return load_job(kept[0]), int(kept[1])
