"""The versions of documents in Redis: opened, committed in one step, or abandoned."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from redis.asyncio import Redis

from rag.runtime.errors import Conflict
from services.retriever.adapters import redis_scripts as scripts
from services.retriever.adapters.redis_catalogue import parse
from services.retriever.adapters.redis_scripts import (
    ERASURES,
    OPEN_VERSIONS,
    commits_key,
    document_key,
    documents_key,
    translated,
    versions_key,
)
from services.retriever.catalogue import Document
from services.retriever.indexing import Commit, Header


class RedisVersions:
    """Hands out version numbers and decides which version is live.

    Args:
        redis: The catalogue's Redis.
        lease_s: How long a version may stay open: longer than any call may take, so that only the versions of writers that died
            run into it.
        clock: Seconds since 1970.
    """

    def __init__(self, redis: Redis, lease_s: float, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._lease_ms = int(lease_s * 1000)
        self._clock = clock
        self._open = redis.register_script(scripts.OPEN)
        self._commit = redis.register_script(scripts.COMMIT)
        self._abandon = redis.register_script(scripts.ABANDON)

    async def open(self, tenant: str, document_id: str) -> int:
        """Return the number of a new version."""
        keys = [versions_key(tenant, document_id), OPEN_VERSIONS]
        with translated():
            return int(await self._open(keys=keys, args=[f"{tenant}/{document_id}", self._now_ms() + self._lease_ms]))

    async def commit(self, tenant: str, header: Header, version: int, commit: Commit) -> Document:
        """Make a version live in one step and queue the erasure of those before it.

        Raises:
            Conflict: VERSION_SUPERSEDED.
        """
        document_id = header.document_id
        keys = [
            document_key(tenant, document_id),
            documents_key(tenant),
            versions_key(tenant, document_id),
            commits_key(tenant),
            OPEN_VERSIONS,
            ERASURES,
        ]
        args: list[str | int] = [
            f"{tenant}/{document_id}",
            document_id,
            version,
            self._now_ms(),
            *_fields(header, commit),
        ]
        with translated():
            flat = await self._commit(keys=keys, args=args)
        if not flat:
            message = "The document was deleted or written by somebody else in the meantime."
            raise Conflict(message, "VERSION_SUPERSEDED", document_id=document_id)
        return parse(document_id, dict(zip(flat[::2], flat[1::2], strict=True)))

    async def abandon(self, tenant: str, document_id: str, version: int) -> None:
        """Queue the erasure of exactly this version, unless it was committed."""
        with translated():
            args: list[str | int] = [f"{tenant}/{document_id}", version, self._now_ms()]
            await self._abandon(keys=[OPEN_VERSIONS, ERASURES], args=args)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _fields(header: Header, commit: Commit) -> list[str | int]:
    fields: dict[str, str | int] = {
        "name": header.name,
        "title": commit.title,
        "media_type": header.media_type,
        "content_hash": header.content_hash,
        "size_bytes": header.size_bytes,
        "page_count": commit.page_count,
        "passage_count": commit.passage_count,
        "metadata": json.dumps(dict(header.metadata)),
    }
    return [part for pair in fields.items() for part in pair]
