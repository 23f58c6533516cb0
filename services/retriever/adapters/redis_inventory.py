"""The catalogue in Redis as its upkeep sees it: all tenants, page by page."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Collection, MutableMapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from rag.catalogue_state import commits_key
from services.retriever.adapters import redis_scripts as scripts
from services.retriever.adapters.redis_index_scripts import COUNT
from services.retriever.adapters.redis_keys import (
    ERASURES,
    OPEN_VERSIONS,
    document_key,
    documents_key,
    passages_field,
    stored_key,
    translated,
)
from services.retriever.adapters.redis_listing import tenants_with_documents
from services.retriever.rebuild.copying import Copied
from services.retriever.upkeep.reconciling import Entry, Key

_AT_ONCE = 500


class RedisInventory:
    """Reads by SCAN, which holds nobody up and may tell a key twice.

    Args:
        redis: The catalogue's Redis.
        live: Names the collection whose passages are counted.
        clock: Seconds since 1970.
    """

    def __init__(
        self, redis: Redis, live: Callable[[], str] = lambda: "", clock: Callable[[], float] = time.time
    ) -> None:
        self._redis = redis
        self._live = live
        self._clock = clock
        self._unlist = redis.register_script(scripts.UNLIST)
        self._enlist = redis.register_script(scripts.ENLIST)
        self._count = redis.register_script(COUNT)

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
        async for page in self.committed({}):
            yield page

    async def committed(self, seen: MutableMapping[str, float]) -> AsyncIterator[Sequence[Entry]]:
        """Yield the live versions that were committed since `seen` was handed in before, all when it is empty."""
        with translated():
            async for tenant, listed in self._listed(seen):
                yield await self._entries(tenant, listed)

    async def holdings(self, tenant: str) -> tuple[int, int]:
        """Return how many documents a tenant has, and how many passages these have."""
        documents = passages = 0
        with translated():
            async for listed in self._behind(tenant, -math.inf):
                entries = await self._entries(tenant, listed)
                documents += len(entries)
                passages += sum(entry.passages for entry in entries)
        return documents, passages

    async def _entries(self, tenant: str, listed: Sequence[tuple[str, float]]) -> list[Entry]:
        here = passages_field(self._live())
        async with self._redis.pipeline(transaction=False) as pipeline:
            for document_id, _ in listed:
                pipeline.hmget(document_key(tenant, document_id), "version", "passage_count", here)
            found = await pipeline.execute()
        return [
            Entry(Key(tenant, document_id, int(version)), int(copied or committed))
            for (document_id, _), (version, committed, copied) in zip(listed, found, strict=True)
            if version
        ]

    async def counts(self, keys: Sequence[Key], collection: str) -> Sequence[Copied]:
        """Return how many passages each of these versions has in a collection."""
        with translated():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key in keys:
                    fields = ["version", "passage_count", passages_field(collection)]
                    pipeline.hmget(document_key(key.tenant, key.document_id), *fields)
                found = await pipeline.execute()
        return [
            Copied(int(there or 0), int(committed or 0)) if int(version or 0) == key.version else Copied()
            for key, (version, committed, there) in zip(keys, found, strict=True)
        ]

    async def count(self, key: Key, collection: str, passages: int, known: Collection[str]) -> bool:
        """Keep how many passages a version has in a collection; False when it is not live any more.

        What was kept of collections that are not `known` is forgotten.
        """
        with translated():
            args: list[str | int] = [key.version, collection, passages, collection, *known]
            return bool(await self._count(keys=[document_key(key.tenant, key.document_id)], args=args))

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
                listing = [documents_key(tenant), commits_key(tenant), stored_key(tenant)]
                keys = [document_key(tenant, document_id), *listing]
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

    async def _listed(
        self, seen: MutableMapping[str, float] | None = None
    ) -> AsyncIterator[tuple[str, Sequence[tuple[str, float]]]]:
        """Yield the entries of every tenant's listing behind `seen`, in the order of their commits, page by page."""
        seen = {} if seen is None else seen
        for tenant in await tenants_with_documents(self._redis):
            async for page in self._behind(tenant, seen.get(tenant, -math.inf)):
                yield tenant, page
                seen[tenant] = page[-1][1]

    async def _behind(self, tenant: str, score: float) -> AsyncIterator[Sequence[tuple[str, float]]]:
        """Yield what was committed behind a score and before now: while somebody writes, "all" would never end."""
        last: Any = await self._redis.zrange(documents_key(tenant), 0, 0, desc=True, withscores=True)
        most = last[0][1] if last else 0
        while True:
            least = "-inf" if score == -math.inf else f"({score!r}"
            page: Any = await self._redis.zrangebyscore(
                documents_key(tenant), least, most, 0, _AT_ONCE, withscores=True
            )
            if not page:
                return
            score = page[-1][1]
            yield [(member.decode(), score) for member, score in page]
