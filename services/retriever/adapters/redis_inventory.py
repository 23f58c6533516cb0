"""The catalogue in Redis as its upkeep sees it: all tenants, page by page."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from services.retriever.adapters import redis_scripts as scripts
from services.retriever.adapters.redis_keys import (
    ERASURES,
    OPEN_VERSIONS,
    commits_key,
    document_key,
    documents_key,
    translated,
)
from services.retriever.reconciling import Entry, Key

_AT_ONCE = 500


class RedisInventory:
    """Reads by SCAN, which holds nobody up and may tell a key twice."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._clock = clock
        self._unlist = redis.register_script(scripts.UNLIST)
        self._enlist = redis.register_script(scripts.ENLIST)

    async def repair(self) -> int:
        """Make the listing of documents and the documents agree; return how many entries did not."""
        repaired = 0
        with translated():
            async for tenant, document_ids in self._documents():
                repaired += await self._run(self._enlist, tenant, document_ids)
            async for tenant, listed in self._listed():
                repaired += await self._run(self._unlist, tenant, [document_id for document_id, _ in listed])
        return repaired

    async def entries(self) -> AsyncIterator[Sequence[Entry]]:
        """Yield all live versions, page by page."""
        with translated():
            async for tenant, listed in self._listed():
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for document_id, _ in listed:
                        pipeline.hmget(document_key(tenant, document_id), "version", "passage_count")
                    found = await pipeline.execute()
                yield [
                    Entry(Key(tenant, document_id, int(version)), int(passages))
                    for (document_id, _), (version, passages) in zip(listed, found, strict=True)
                    if version
                ]

    async def unneeded(self, keys: Collection[Key]) -> Collection[Key]:
        """Return those of `keys` that are neither live nor being written, in one reading."""
        wanted = list(keys)
        if not wanted:
            return []
        with translated():
            async with self._redis.pipeline(transaction=True) as pipeline:
                for key in wanted:
                    pipeline.hget(document_key(key.tenant, key.document_id), "version")
                    pipeline.zscore(OPEN_VERSIONS, "/".join(map(str, key)))
                found = await pipeline.execute()
        states = zip(wanted, found[::2], found[1::2], strict=True)
        return [key for key, live, is_open in states if int(live or 0) != key.version and is_open is None]

    async def erase(self, keys: Collection[Key]) -> None:
        """Queue the erasure of versions."""
        now = int(self._clock() * 1000)
        members = {f"{key.tenant}/{key.document_id}/{key.version}-{key.version}": now for key in keys}
        if members:
            with translated():
                await self._redis.zadd(ERASURES, members)

    async def _run(self, script: AsyncScript, tenant: str, document_ids: Sequence[str]) -> int:
        """Run a script per document, all in one round trip; return how many changed something."""
        if not document_ids:
            return 0
        async with self._redis.pipeline(transaction=False) as pipeline:
            for document_id in document_ids:
                keys = [document_key(tenant, document_id), documents_key(tenant), commits_key(tenant)]
                await script(keys=keys, args=[document_id], client=pipeline)
            return sum(map(int, await pipeline.execute()))

    async def _documents(self) -> AsyncIterator[tuple[str, Sequence[str]]]:
        """Yield documents that have a live version: a tenant and some of its documents."""
        cursor = -1
        while cursor:
            page: Any = await self._redis.scan(max(cursor, 0), "rag:*:document:*", _AT_ONCE)
            cursor = page[0]
            names = sorted(key.decode().split(":") for key in page[1])
            # Keys of other services may fit the pattern too: ids hold no colon, so ours have four parts.
            ours = [(parts[1], parts[3]) for parts in names if len(parts) == 4 and parts[2] == "document"]
            for tenant, group in groupby(ours, key=itemgetter(0)):
                yield tenant, [document_id for _, document_id in group]

    async def _tenants(self) -> Sequence[str]:
        """Return the tenants that have a listing."""
        found = set()
        async for key in self._redis.scan_iter("rag:*:documents", _AT_ONCE):
            parts = bytes(key).decode().split(":")
            if len(parts) == 3:
                found.add(parts[1])
        return sorted(found)

    async def _listed(self) -> AsyncIterator[tuple[str, Sequence[tuple[str, float]]]]:
        """Yield the entries of every tenant's listing, in the order of their commits, page by page."""
        for tenant in await self._tenants():
            least = "-inf"
            while True:
                page: Any = await self._redis.zrangebyscore(
                    documents_key(tenant), least, "+inf", 0, _AT_ONCE, withscores=True
                )
                if not page:
                    break
                yield tenant, [(member.decode(), score) for member, score in page]
                least = f"({page[-1][1]!r}"
