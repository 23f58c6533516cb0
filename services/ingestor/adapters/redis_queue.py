"""Hands out jobs from a Redis stream, each under a lease with a fence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from rag.ids import new_id
from services.ingestor.adapters import redis_scripts as scripts
from services.ingestor.adapters.redis_records import (
    GROUP,
    QUEUE,
    dump,
    events_key,
    job_key,
    jobs_key,
    load_job,
    load_upload,
    reaching_redis,
)
from services.ingestor.jobs import Job, Lease, LeaseLostError

_LONGEST_BLOCK_MS = 2_000
_LISTED_S = 30 * 24 * 3600
"""How long a job can be listed at most; its record is gone before."""


@dataclass(frozen=True, slots=True)
class QueueRules:
    """When a silent worker loses its job, how often a job is taken up, how long an ended one is kept."""

    lease_ms: int = 10_000
    max_attempts: int = 3
    keep_ms: int = 7 * 24 * 3600 * 1000


class RedisQueue:
    """A `JobQueue`. `blocking` is a client of its own for the one command that waits."""

    def __init__(
        self, redis: Redis, blocking: Redis, consumer: str, rules: QueueRules, clock: Callable[[], float] = time.time
    ) -> None:
        self._redis = redis
        self._blocking = blocking
        self._consumer = consumer
        self._rules = rules
        self._clock = clock
        self._reclaim = redis.register_script(scripts.RECLAIM)
        self._begin = redis.register_script(scripts.BEGIN)
        self._renew = redis.register_script(scripts.RENEW)
        self._write = redis.register_script(scripts.WRITE)
        self._release = redis.register_script(scripts.RELEASE)

    async def take(self) -> Lease | None:
        """A job whose worker is silent, else a new one; None when there is neither for a while."""
        with reaching_redis():
            try:
                found = await self._silent() or await self._new()
            except ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                await self._create_group()
                return None
            return await self._lease(*found) if found else None

    async def renew(self, lease: Lease) -> None:
        """Reset the entry's idle time, if the fence is still ours."""
        args: list[Any] = [lease.fence, GROUP, lease.entry, self._consumer]
        with reaching_redis():
            held = await self._renew(keys=[self._job_key(lease), QUEUE], args=args)
        _check(held, lease)

    async def write(self, lease: Lease, job: Job) -> None:
        """Write job and event, and at the end close the queue entry, in one script."""
        tenant = lease.upload.tenant
        keys = [self._job_key(lease), events_key(tenant, job.id), QUEUE, jobs_key(tenant)]
        keep_ms = self._rules.keep_ms if job.state.is_final else 0
        oldest = int((self._clock() - _LISTED_S) * 1_000_000)
        args: list[Any] = [lease.fence, dump(job), job.state.value, GROUP, lease.entry, keep_ms, oldest]
        with reaching_redis():
            held = await self._write(keys=keys, args=args)
        _check(held, lease)

    async def release(self, lease: Lease, job: Job) -> None:
        """Write the job as queued and queue it anew, which wakes a waiting worker at once."""
        tenant = lease.upload.tenant
        keys = [self._job_key(lease), events_key(tenant, job.id), QUEUE]
        with reaching_redis():
            held = await self._release(keys=keys, args=[lease.fence, dump(job), GROUP, lease.entry, tenant, job.id])
        _check(held, lease)

    async def _silent(self) -> tuple[bytes, bytes, bytes] | None:
        found: Any = await self._reclaim(keys=[QUEUE], args=[GROUP, self._consumer, self._rules.lease_ms])
        return tuple(found) if found else None

    async def _new(self) -> tuple[bytes, bytes, bytes] | None:
        # A job whose worker dies must not wait for new ones to come: look for both in turn.
        block_ms = max(1, min(_LONGEST_BLOCK_MS, self._rules.lease_ms // 4))
        reply: Any = await self._blocking.xreadgroup(GROUP, self._consumer, {QUEUE: ">"}, count=1, block=block_ms)
        for entry, fields in next(iter(reply.values()), []) if reply else []:
            return entry, fields[b"tenant"], fields[b"job"]
        return None

    async def _lease(self, entry: bytes, tenant: bytes, job_id: bytes) -> Lease | None:
        keys = [job_key(tenant.decode(), job_id.decode()), QUEUE]
        begun: Any = await self._begin(keys=keys, args=[GROUP, entry, self._rules.max_attempts, new_id("take")])
        if not begun:
            return None
        fence, attempts, exhausted, job, upload = begun
        return Lease(
            entry=entry.decode(),
            fence=int(fence),
            attempts=int(attempts),
            exhausted=bool(exhausted),
            upload=load_upload(upload),
            job=load_job(job),
        )

    async def _create_group(self) -> None:
        try:
            await self._redis.xgroup_create(QUEUE, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    @staticmethod
    def _job_key(lease: Lease) -> str:
        return job_key(lease.upload.tenant, lease.upload.job_id)


def _check(held: int, lease: Lease) -> None:
    if not held:
        raise LeaseLostError(lease.upload.job_id)
