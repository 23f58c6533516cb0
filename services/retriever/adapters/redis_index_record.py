"""Which index the catalogue's documents are in, recorded in Redis when the first one is made."""

from __future__ import annotations

from redis.asyncio import Redis

from services.retriever.adapters import redis_scripts as scripts
from services.retriever.adapters.redis_keys import INDEX, translated
from services.retriever.opening import Index
from services.retriever.passages import Model


class RedisIndexRecord:
    """Remembers one index for good: another model at a later start must not hide what was indexed."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._record = redis.register_script(scripts.RECORD_INDEX)

    async def record(self, index: Index) -> Index:
        """Record `index` when none is recorded yet; return the one that is."""
        fields: dict[str, str | int] = {
            "collection": index.collection,
            "model": index.model.name,
            "revision": index.model.revision,
            "dimension": index.model.dimension,
            "analyzer": index.analyzer,
        }
        with translated():
            values = await self._record(keys=[INDEX], args=[part for pair in fields.items() for part in pair])
        collection, name, revision, dimension, analyzer = (value.decode() for value in values)
        return Index(collection, Model(name, revision, int(dimension)), analyzer)
