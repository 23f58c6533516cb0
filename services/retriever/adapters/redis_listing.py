"""The catalogue in Redis as an export reads it: all documents of a tenant, and all tenants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from services.retriever.adapters.redis_catalogue import parse
from services.retriever.adapters.redis_keys import document_key, documents_key, translated
from services.retriever.catalogue import Document

_AT_ONCE = 1_000


class RedisListing:
    """Reads listings page by page; what is added meanwhile may be missing, what is removed may be there."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def ids(self, tenant: str) -> Sequence[str]:
        """Return the ids of all documents, sorted."""
        with translated():
            members = [
                bytes(member).decode()
                async for member, _ in self._redis.zscan_iter(documents_key(tenant), count=_AT_ONCE)
            ]
        return sorted(set(members))

    async def accepted(self, tenant: str, document_id: str) -> tuple[Document, int] | None:
        """Return the live version and when its content was accepted, None when there is none."""
        with translated():
            fields: Any = await self._redis.hgetall(document_key(tenant, document_id))
        return (parse(document_id, fields), int(fields[b"accepted_us"])) if fields else None

    async def tenants(self) -> Sequence[str]:
        """Return the tenants that have documents, sorted."""
        with translated():
            return await tenants_with_documents(self._redis)


async def tenants_with_documents(redis: Redis) -> Sequence[str]:
    """Return the tenants that have a listing, sorted."""
    keys = [bytes(key).decode().split(":") async for key in redis.scan_iter("rag:*:documents", _AT_ONCE)]
    # Keys of other services may fit the pattern too: ids hold no colon, so ours have three parts.
    return sorted({parts[1] for parts in keys if len(parts) == 3})
