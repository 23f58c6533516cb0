"""Rankings in Redis: ids and numbers, no text."""

from __future__ import annotations

import json
from typing import Any

from redis.asyncio import Redis

from rag.catalogue_state import changes_key
from rag.runtime.redis_erasing import ERASE_ALL, PAGE, in_pages
from services.retriever.adapters.redis_keys import retrieval_key, retrievals_epoch_key, retrievals_key, translated
from services.retriever.passages import Place
from services.retriever.retrieval.caching import Kept, Ranking
from services.retriever.retrieval.ranking import Ranked

_EPOCH_S = 3_600
"""Longer than any search takes."""

# KEYS: the ranking, all rankings of the tenant, its epoch. ARGV: the ranking, seconds to live, digest, epoch. Rankings whose time is over
# leave the set here, so it does not outgrow what there is.
_KEEP = """
if (redis.call('GET', KEYS[3]) or '') ~= ARGV[4] then return end
local now = redis.call('TIME')[1]
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. now)
redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[2])
"""


class RedisRetrievals:
    """One string per ranking, which expires by itself. Each method is one round trip, but for forgetting many.

    Args:
        redis: The catalogue's Redis, which counts the changes too.
        ttl_s: How long a ranking is kept, in seconds; 0 keeps none.
    """

    def __init__(self, redis: Redis, ttl_s: int) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._keep = redis.register_script(_KEEP)
        self._forget = redis.register_script(ERASE_ALL)

    async def read(self, tenant: str, key: str) -> Kept:
        """Return the tenant's count of changes now, what is kept under `key`, and the epoch."""
        with translated():
            keys = changes_key(tenant), retrieval_key(tenant, key), retrievals_epoch_key(tenant)
            found: Any = await self._redis.mget(*keys)
        changes, kept, epoch = found
        return Kept(int(changes or 0), decoded(kept) if kept and self._ttl_s else None, (epoch or b"").decode())

    async def keep(self, tenant: str, key: str, ranking: Ranking, epoch: str = "") -> None:
        """Keep a ranking under `key`, unless its search began in another epoch."""
        if self._ttl_s:
            keys = [retrieval_key(tenant, key), retrievals_key(tenant), retrievals_epoch_key(tenant)]
            with translated():
                await self._keep(keys=keys, args=[encoded(ranking), self._ttl_s, key, epoch])

    async def forget(self, tenant: str) -> int:
        """Begin another epoch and erase all rankings, some at a time; return how many were erased."""
        keys = [retrievals_key(tenant), retrievals_epoch_key(tenant)]
        args: list[str | int] = [retrieval_key(tenant, ""), PAGE, _EPOCH_S]

        async def erase() -> tuple[int, int]:
            with translated():
                looked_at, erased = await self._forget(keys=keys, args=args)
            return looked_at, erased

        return await in_pages(erase)


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
