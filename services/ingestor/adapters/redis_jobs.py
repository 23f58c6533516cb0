"""Keeps jobs in Redis."""

from __future__ import annotations

import hashlib
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from rag.runtime import failpoints
from rag.runtime.errors import AlreadyExists, NotFound, Overloaded, Unavailable
from services.ingestor.adapters import redis_scripts as scripts
from services.ingestor.adapters.redis_records import (
    UNFINISHED,
    dump,
    job_key,
    jobs_key,
    load_job,
    reaching_redis,
    request_key,
)
from services.ingestor.jobs import Job, JobState, Request, Upload

_FULL_RETRY_S = 5.0


class RedisJobs:
    """A `JobStore` with at most `max_queued` unfinished jobs. With `require_aof`, a Redis that does not log its writes takes no jobs: a crash would lose them."""

    def __init__(self, redis: Redis, *, require_aof: bool, max_queued: int = 10_000) -> None:
        self._redis = redis
        self._max_queued = max_queued
        self._require_aof = require_aof
        self._add = redis.register_script(scripts.ADD)

    async def check_open(self, tenant: str, request_id: str) -> None:
        """Raise `Unavailable` QUEUE_NOT_DURABLE unless the append-only file is on, QUEUE_UNAVAILABLE if away."""
        await self._check_durable()
        with reaching_redis():
            if await self._redis.zcard(UNFINISHED) < self._max_queued:
                return
            known = request_id and await self._redis.exists(request_key(tenant, _digest(request_id)))
        if not known:
            raise queue_full()

    async def _check_durable(self) -> None:
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

    async def add(self, upload: Upload, job: Job, request: Request | None) -> Job:
        """Keep job, first event and queue entry in one script."""
        args: list[Any] = [upload.tenant, job.id, upload.document_id, dump(job), dump(upload), upload.password]
        asked = [_digest(request.id), request.fingerprint] if request else ["", ""]
        failpoints.reach("job_enqueuing")
        with reaching_redis():
            reply: Any = await self._add(args=[*args, *asked, self._max_queued])
        failpoints.reach("job_enqueued")
        outcome = reply[0].decode()
        if outcome == "full":
            raise queue_full()
        if outcome == "other":
            message = "This request id was used with other content or another header before; use a new one."
            raise AlreadyExists(message, "IDEMPOTENCY_KEY_REUSED")
        return load_job(reply[1])

    async def get(self, tenant: str, job_id: str) -> Job:
        """Return one job."""
        with reaching_redis():
            raw: Any = await self._redis.hget(job_key(tenant, job_id), "job")
        if raw is None:
            raise unknown_job(job_id)
        return load_job(raw)

    async def page(self, tenant: str, size: int, after: str, state: JobState | None = None) -> tuple[list[Job], str]:
        """Up to `size` jobs after a position, which is the moment at which the job before was accepted."""
        key = jobs_key(tenant, state)
        highest = f"({after}" if after else "+inf"
        with reaching_redis():
            listed: Any = await self._redis.zrevrangebyscore(key, highest, "-inf", 0, size + 1, withscores=True)
            jobs = await self._load(tenant, [raw.decode() for raw, _ in listed[:size]], key)
        return jobs, str(int(listed[size - 1][1])) if len(listed) > size else ""

    async def _load(self, tenant: str, ids: list[str], key: str) -> list[Job]:
        if not ids:
            return []
        pipe = self._redis.pipeline(transaction=False)
        for job_id in ids:
            pipe.hget(job_key(tenant, job_id), "job")
        kept = dict(zip(ids, await pipe.execute(), strict=True))
        if expired := [job_id for job_id, raw in kept.items() if raw is None]:
            await self._redis.zrem(key, *expired)
        return [load_job(raw) for raw in kept.values() if raw is not None]


def _digest(request_id: str) -> str:
    return hashlib.sha256(request_id.encode()).hexdigest()


def queue_full() -> Overloaded:
    """The error for one job more than there may be."""
    return Overloaded("Too many documents are waiting; try again later.", "QUEUE_FULL", _FULL_RETRY_S)


def unknown_job(job_id: str) -> NotFound:
    """The error for a job that does not exist, or is another tenant's: both read the same."""
    return NotFound(f"There is no job {job_id}.", "JOB_NOT_FOUND", job_id=job_id)
