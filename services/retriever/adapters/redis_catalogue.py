"""The catalogue in Redis, as its readers see it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from rag.catalogue_state import STATE, changes_key
from services.retriever.adapters import redis_scripts as scripts
from services.retriever.adapters.redis_keys import (
    document_key,
    documents_key,
    passages_field,
    stored_key,
    translated,
)
from services.retriever.catalogue import Document, Stored
from services.retriever.retrieval.unchanged import Answer, Live

_COUNTED_AT_ONCE = 500
_COUNT_TRUSTED_S = 7 * 24 * 3600

# KEYS: changes, a document's without its id. ARGV: the state that is known, ids between spaces. Return the state and, when none other is
# known, version and title of each document, as JSON: one text is read much faster than as many answers.
_LIVE = (
    STATE
    + """
if ARGV[1] ~= '' and ARGV[1] ~= state then return cjson.encode({state}) end
local answer = {state}
for id in string.gmatch(ARGV[2], '%S+') do
  local version, title, name = unpack(redis.call('HMGET', KEYS[2] .. id, 'version', 'title', 'name'))
  if version then
    answer[#answer + 1] = id
    answer[#answer + 1] = version
    answer[#answer + 1] = title and title ~= '' and title or name
  end
end
return cjson.encode(answer)
"""
)


class RedisCatalogue:
    """Documents and live versions; each method is one round trip or two, but for a first count.

    Args:
        redis: The catalogue's Redis.
        collection: Names the live collection, whose passages are counted.
    """

    def __init__(self, redis: Redis, collection: Callable[[], str] = lambda: "") -> None:
        self._redis = redis
        self._collection = collection
        self._live = redis.register_script(_LIVE)
        self._stored = redis.register_script(scripts.STORED)

    async def ping(self) -> bool:
        """Return True when Redis answers."""
        with translated():
            return bool(await self._redis.ping())

    async def get(self, tenant: str, document_id: str) -> Document | None:
        """Return the live version, None when there is none."""
        with translated():
            fields: Any = await self._redis.hgetall(document_key(tenant, document_id))
        return parse(document_id, fields, self._collection()) if fields else None

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
        found, live = zip(ranked, entries, strict=True), self._collection()
        return [(int(score), parse(member.decode(), fields, live)) for (member, score), fields in found if fields]

    async def stored(self, tenant: str) -> Stored:
        """Return what a tenant stores. The first call counts, some documents at a time; later ones find the count."""
        keys, args = (
            [documents_key(tenant), stored_key(tenant), document_key(tenant, "")],
            [_COUNTED_AT_ONCE, _COUNT_TRUSTED_S],
        )
        counted: list[int] = []
        with translated():
            while not counted:
                counted = await self._stored(keys=keys, args=args)
        return Stored(*counted)

    async def live(self, tenant: str, document_ids: Collection[str], state: str = "") -> Answer:
        """Return the live versions of these documents, in one reading; those that do not exist are left out.

        When `state` is not empty and not the present one any more, nothing but the present one is told.
        """
        with translated():
            answer: Any = await self._live(
                keys=[changes_key(tenant), document_key(tenant, "")], args=[state, " ".join(document_ids)]
            )
        present, *found = json.loads(answer)
        entries = zip(found[::3], found[1::3], found[2::3], strict=True)
        return Answer(present, {document_id: Live(int(version), title) for document_id, version, title in entries})


def parse(document_id: str, fields: Mapping[bytes, bytes], collection: str = "") -> Document:
    """Return the document that a hash holds, with the count of its passages in `collection`."""
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
        passage_count=int(texts.get(passages_field(collection)) or texts["passage_count"]),
        metadata=json.loads(texts["metadata"]),
        created_ms=int(texts["created_ms"]),
        updated_ms=int(texts["updated_ms"]),
        fingerprint=texts.get("fingerprint", ""),
    )
