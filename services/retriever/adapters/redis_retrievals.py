"""Rankings in Redis: ids and numbers, no text."""

from __future__ import annotations

import json
from typing import Any

from redis.asyncio import Redis

from rag.catalogue_state import changes_key
from services.retriever.adapters.redis_keys import retrieval_key, translated
from services.retriever.passages import Place
from services.retriever.retrieval.caching import Kept, Ranking
from services.retriever.retrieval.ranking import Ranked


class RedisRetrievals:
    """One string per ranking, which expires by itself. Each method is one round trip.

    Args:
        redis: The catalogue's Redis, which counts the changes too.
        ttl_s: How long a ranking is kept, in seconds; 0 keeps none.
    """

    def __init__(self, redis: Redis, ttl_s: int) -> None:
        self._redis = redis
        self._ttl_s = ttl_s

    async def read(self, tenant: str, key: str) -> Kept:
        """Return the tenant's count of changes now, and what is kept under `key`."""
        with translated():
            changes, kept = await self._redis.mget(changes_key(tenant), retrieval_key(tenant, key))
        return Kept(int(changes or 0), decoded(kept) if kept and self._ttl_s else None)

    async def keep(self, tenant: str, key: str, ranking: Ranking) -> None:
        """Keep a ranking under `key`."""
        if self._ttl_s:
            with translated():
                await self._redis.set(retrieval_key(tenant, key), encoded(ranking), ex=self._ttl_s)


def encoded(ranking: Ranking) -> bytes:
    """Return a ranking as bytes: the versions it names once each, then a line of numbers for each passage."""
    versions = list(dict.fromkeys((ranked.place.document_id, ranked.place.version) for ranked in ranking.ranked))
    number = {version: at for at, version in enumerate(versions)}
    lines = [
        (
            number[ranked.place.document_id, ranked.place.version],
            ranked.place.ordinal,
            ranked.score,
            ranked.dense,
            ranked.keyword,
            ranked.rerank,
        )
        for ranked in ranking.ranked
    ]
    whole = (ranking.changes, ranking.dense_candidates, ranking.keyword_candidates, versions, lines)
    return json.dumps(whole, separators=(",", ":")).encode()


def decoded(kept: bytes | str) -> Ranking | None:
    """Return the ranking that bytes stand for; None for bytes of another form, such as an older one's."""
    try:
        changes, dense, keyword, versions, lines = json.loads(kept)
        return Ranking(changes, [_ranked(versions, *line) for line in lines], dense, keyword)
    except (ValueError, TypeError, IndexError):
        return None


def _ranked(versions: list[Any], at: int, ordinal: int, *scores: Any) -> Ranked:
    document_id, version = versions[at]
    return Ranked(Place(document_id, version, ordinal), *scores)
