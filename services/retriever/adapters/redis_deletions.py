"""The deletions in Redis: gone for readers, and what of them is still to be erased."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis

from rag.catalogue_state import changes_key
from services.retriever.adapters import redis_scripts as scripts
from services.retriever.adapters.redis_keys import (
    BARRIER,
    CHANGES,
    DELETIONS,
    REMEMBERED_S,
    documents_key,
    stored_key,
    translated,
    unbarred,
    version_keys,
    versions_key,
)
from services.retriever.upkeep.deletion import Deleted, Deletion

_CALLERS_US = 10_000_000
"""Longer than the caller's own attempt takes: it has to learn how many jobs there were before a worker erases them."""


class RedisDeletions:
    """A sorted set by when each is due; the hash of the document's versions knows the rest."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._clock = clock
        self._delete = redis.register_script(scripts.DELETE)
        self._forget = redis.register_script(scripts.FORGET)

    async def delete(self, tenant: str, document_id: str) -> Deleted:
        """Remove a document for every reader and begin its erasure, in one step."""
        changes = [changes_key(tenant), CHANGES, BARRIER, stored_key(tenant)]
        keys = [*version_keys(tenant, document_id), documents_key(tenant), *changes]
        now_ms = int(self._clock() * 1000)
        args: list[str | int] = [f"{tenant}/{document_id}", now_ms, document_id, REMEMBERED_S, _CALLERS_US]
        with translated():
            version, until_us, due_us = await unbarred(lambda: self._delete(keys=keys, args=args))
        return Deleted(int(version), int(until_us), int(due_us))

    async def hasten(self, tenant: str, document_id: str) -> None:
        """Have what is left of a deletion done from now on."""
        with translated():
            await self._redis.zadd(DELETIONS, {f"{tenant}/{document_id}": await self._now_us()})

    async def pending(self, limit: int) -> Sequence[Deletion]:
        """Return those that are due, the oldest first."""
        with translated():
            now_us = await self._now_us()
            members: Any = await self._redis.zrangebyscore(DELETIONS, "-inf", now_us, 0, limit, withscores=True)
            names = [member.decode().split("/") for member, _ in members]
            async with self._redis.pipeline(transaction=False) as pipeline:
                for tenant, document_id in names:
                    key = versions_key(tenant, document_id)
                    pipeline.hmget(key, "deleted_through", "deleted_us")
                    pipeline.get(f"{key}:deleted")
                known = await pipeline.execute() if names else []
        entries = zip(names, known[::2], known[1::2], (int(score) for _, score in members), strict=True)
        return [
            Deletion(tenant, document_id, int(last or 0), max(int(known_us or 0), int(unknown_us or 0)), due_us)
            for (tenant, document_id), (last, known_us), unknown_us, due_us in entries
        ]

    async def done(self, tenant: str, document_id: str, due_us: int) -> None:
        """Forget a deletion, unless it was asked for again since."""
        with translated():
            await self._forget(keys=[DELETIONS], args=[f"{tenant}/{document_id}", due_us])

    async def _now_us(self) -> int:
        seconds, micros = await self._redis.time()
        return seconds * 1_000_000 + micros
