"""The catalogue in Redis, as its readers see it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from services.retriever.adapters.redis_keys import document_key, documents_key, translated
from services.retriever.catalogue import Document
from services.retriever.search import Live


class RedisCatalogue:
    """Documents and live versions; each method is one round trip or two."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def ping(self) -> bool:
        """Return True when Redis answers."""
        with translated():
            return bool(await self._redis.ping())

    async def get(self, tenant: str, document_id: str) -> Document | None:
        """Return the live version, None when there is none."""
        with translated():
            fields: Any = await self._redis.hgetall(document_key(tenant, document_id))
        return parse(document_id, fields) if fields else None

    async def newest(self, tenant: str, before: int | None, limit: int) -> Sequence[tuple[int, Document]]:
        """Return documents with the number of their commit, newest first, only those committed before `before`."""
        most = "+inf" if before is None else f"({before}"
        with translated():
            ranked: Any = await self._redis.zrevrangebyscore(
                documents_key(tenant), most, "-inf", 0, limit, withscores=True
            )
            async with self._redis.pipeline(transaction=False) as pipeline:
                for member, _ in ranked:
                    pipeline.hgetall(document_key(tenant, member.decode()))
                entries = await pipeline.execute() if ranked else []
        found = zip(ranked, entries, strict=True)
        return [(int(score), parse(member.decode(), fields)) for (member, score), fields in found if fields]

    async def live(self, tenant: str, document_ids: Collection[str]) -> Mapping[str, Live]:
        """Return the live versions of these documents, in one reading; those that do not exist are left out."""
        wanted = list(document_ids)
        with translated():
            async with self._redis.pipeline(transaction=True) as pipeline:
                for document_id in wanted:
                    pipeline.hmget(document_key(tenant, document_id), "version", "title", "name")
                entries = await pipeline.execute()
        found = zip(wanted, entries, strict=True)
        return {id_: Live(int(version), (title or name).decode()) for id_, (version, title, name) in found if version}


def parse(document_id: str, fields: Mapping[bytes, bytes]) -> Document:
    """Return the document that a hash holds."""
    texts = {key.decode(): value.decode() for key, value in fields.items()}
    return Document(
        id=document_id,
        version=int(texts["version"]),
        name=texts["name"],
        title=texts["title"],
        media_type=texts["media_type"],
        content_hash=texts["content_hash"],
        size_bytes=int(texts["size_bytes"]),
        page_count=int(texts["page_count"]),
        passage_count=int(texts["passage_count"]),
        metadata=json.loads(texts["metadata"]),
        created_ms=int(texts["created_ms"]),
        updated_ms=int(texts["updated_ms"]),
        fingerprint=texts.get("fingerprint", ""),
    )
