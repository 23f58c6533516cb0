"""Keeps jobs in Redis."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from rag.runtime.errors import NotFound, Unavailable
from services.ingestor.adapters import redis_scripts as scripts
from services.ingestor.adapters.redis_records import (
    QUEUE,
    dump,
    events_key,
    job_key,
    jobs_key,
    load_job,
    reaching_redis,
)
from services.ingestor.jobs import Job, Upload


class RedisJobs:
    """A `JobStore`. With `require_aof`, a Redis that does not log its writes takes no jobs: a crash would lose them."""

    def __init__(self, redis: Redis, *, require_aof: bool) -> None:
        self._redis = redis
        self._require_aof = require_aof
        self._add = redis.register_script(scripts.ADD)

    async def check_durable(self) -> None:
        """Raise `Unavailable` QUEUE_NOT_DURABLE unless the append-only file is on, QUEUE_UNAVAILABLE if away."""
        with reaching_redis():
            if not self._require_aof:
                await self._redis.ping()
                return
            try:
                setting: Any = await self._redis.config_get("appendonly")
            except ResponseError as error:  # managed Redis forbids CONFIG
                message = "Redis does not tell whether it is durable; INGESTOR_REQUIRE_AOF=false takes it at its word."
                raise Unavailable(message, "QUEUE_NOT_DURABLE") from error
        if not {"yes", b"yes"} & set(setting.values()):
            message = "Redis has no append-only file, so an accepted document could be lost; uploads are refused."
            raise Unavailable(message, "QUEUE_NOT_DURABLE")

    async def add(self, upload: Upload, job: Job) -> None:
        """Keep job, first event and queue entry in one script."""
        tenant = upload.tenant
        keys = [job_key(tenant, job.id), events_key(tenant, job.id), jobs_key(tenant), QUEUE]
        score = int(job.created_at * 1_000_000)
        with reaching_redis():
            await self._add(keys=keys, args=[dump(job), dump(upload), score, job.id, tenant])

    async def get(self, tenant: str, job_id: str) -> Job:
        """Return one job."""
        with reaching_redis():
            raw: Any = await self._redis.hget(job_key(tenant, job_id), "job")
        if raw is None:
            raise unknown_job(job_id)
        return load_job(raw)

    async def page(self, tenant: str, size: int, after: str) -> tuple[list[Job], str]:
        """Up to `size` jobs after a position, which is the id of the job before."""
        key = jobs_key(tenant)
        with reaching_redis():
            rank: Any = await self._redis.zrevrank(key, after) if after else -1
            if rank is None:  # expired since
                return [], ""
            listed: Any = await self._redis.zrevrange(key, rank + 1, rank + 1 + size)
            ids = [raw.decode() for raw in listed]
            jobs = await self._load(tenant, ids[:size])
        return jobs, ids[size - 1] if len(ids) > size else ""

    async def _load(self, tenant: str, ids: list[str]) -> list[Job]:
        pipe = self._redis.pipeline(transaction=False)
        for job_id in ids:
            pipe.hget(job_key(tenant, job_id), "job")
        return [load_job(raw) for raw in await pipe.execute() if raw is not None] if ids else []


def unknown_job(job_id: str) -> NotFound:
    """The error for a job that does not exist, or is another tenant's: both read the same."""
    return NotFound(f"There is no job {job_id}.", "JOB_NOT_FOUND", job_id=job_id)
