"""Hands out jobs from a Redis stream, each under a lease with a fence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import ResponseError

from rag.ids import new_id
from services.ingestor.adapters import redis_scripts as scripts
from services.ingestor.adapters.redis_records import (
    GROUP,
    QUEUE,
    dump,
    job_key,
    load_lease,
    reaching_redis,
)
from services.ingestor.jobs import Job, Lease, LeaseLostError

_LONGEST_BLOCK_MS = 2_000
_LISTED_MS = 30 * 24 * 3600 * 1000
"""How much longer than its record a job may stand in lists."""
_REQUEST_MS = 24 * 3600 * 1000
"""How long a job with a request id is kept at least, so that the id keeps its meaning."""


@dataclass(frozen=True, slots=True)
class QueueRules:
    """When a silent worker loses its job, how often a job is taken up, how long an ended one is kept.

    `tell_ends` notes the ends of jobs for those who are told of them.
    """

    lease_ms: int = 10_000
    max_attempts: int = 3
    keep_ms: int = 7 * 24 * 3600 * 1000
    tell_ends: bool = False


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
        key = job_key(lease.upload.tenant, lease.upload.job_id)
        await self._held(self._renew, lease, [key, lease.fence, lease.entry, self._consumer])

    async def write(self, lease: Lease, job: Job) -> None:
        """Write job and event, and at the end close the queue entry and wake the document's next job, in one script."""
        keep_ms = self._rules.keep_ms
        longest_ms = max(keep_ms, _REQUEST_MS)
        oldest = int((self._clock() * 1000 - longest_ms - _LISTED_MS) * 1000)
        kept: list[Any] = [keep_ms, longest_ms, oldest, int(self._rules.tell_ends), self._rules.lease_ms]
        await self._held(self._write, lease, [*_of(lease), dump(job), job.state.value, *kept])

    async def release(self, lease: Lease, job: Job) -> None:
        """Write the job as queued and queue it anew, which wakes a waiting worker at once."""
        await self._held(self._release, lease, [*_of(lease), dump(job)])

    @staticmethod
    async def _held(script: AsyncScript, lease: Lease, args: list[Any]) -> None:
        with reaching_redis():
            held = await script(args=args)
        if not held:
            raise LeaseLostError(lease.upload.job_id)

    async def _silent(self) -> tuple[bytes, bytes, bytes] | None:
        found: Any = await self._reclaim(args=[self._consumer, self._rules.lease_ms])
        return tuple(found) if found else None

    async def _new(self) -> tuple[bytes, bytes, bytes] | None:
        # A job whose worker dies must not wait for new ones to come: look for both in turn.
        block_ms = max(1, min(_LONGEST_BLOCK_MS, self._rules.lease_ms // 4))
        reply: Any = await self._blocking.xreadgroup(GROUP, self._consumer, {QUEUE: ">"}, count=1, block=block_ms)
        for entry, fields in next(iter(reply.values()), []) if reply else []:
            return entry, fields[b"tenant"], fields[b"job"]
        return None

    async def _lease(self, entry: bytes, tenant: bytes, job_id: bytes) -> Lease | None:
        args: list[Any] = [entry, tenant, job_id, self._consumer, self._rules.max_attempts, new_id("take")]
        begun: Any = await self._begin(args=args)
        return load_lease(begun) if begun else None

    async def _create_group(self) -> None:
        try:
            await self._redis.xgroup_create(QUEUE, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise


def _of(lease: Lease) -> list[Any]:
    return [lease.upload.tenant, lease.upload.job_id, lease.fence]
