"""The versions of documents in Redis: opened, committed in one step, or abandoned."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from rag.catalogue_state import changes_key, commits_key
from rag.runtime.errors import Conflict
from services.retriever.adapters import redis_scripts as scripts
from services.retriever.adapters.redis_catalogue import parse
from services.retriever.adapters.redis_keys import (
    BARRIER,
    CHANGES,
    INDEX,
    REMEMBERED_S,
    documents_key,
    stored_key,
    translated,
    unbarred,
    version_keys,
)
from services.retriever.catalogue import Document
from services.retriever.indexing import Writing
from services.retriever.parts import Commit, Header

_REFUSALS = {
    "VERSION_SUPERSEDED": "The document was deleted or written by somebody else in the meantime.",
    "STALE_WRITER": "Another writer has taken up this work in the meantime.",
    "INDEX_SWITCHED": "Another index went live in the meantime; write the document again.",
    "VERSION_OUTRUN": "A later version with earlier content went live first; write the document again.",
}


class RedisVersions:
    """Hands out version numbers and decides which version is live.

    Args:
        redis: The catalogue's Redis.
        lease_s: How long a version may stay open: longer than any call may take, so that only the versions of writers that died
            run into it.
        clock: Seconds since 1970.
    """

    def __init__(self, redis: Redis, lease_s: float, clock: Callable[[], float] = time.time) -> None:
        self._lease_ms = int(lease_s * 1000)
        self._clock = clock
        self._open = redis.register_script(scripts.OPEN)
        self._check = redis.register_script(scripts.CHECK)
        self._commit = redis.register_script(scripts.COMMIT)
        self._abandon = redis.register_script(scripts.ABANDON)
        self._revoke = redis.register_script(scripts.REVOKE)

    async def open(self, tenant: str, header: Header, collection: str) -> Writing:
        """Return a new version that is written to `collection`, or refuse. One that is neither committed nor abandoned is erased after a while."""
        given_up_ms = self._now_ms() + self._lease_ms
        args = [header.accepted_us, header.fence, given_up_ms, REMEMBERED_S]
        refusal, *opened = await self._run(self._open, tenant, header.document_id, args)
        _check(refusal, header.document_id)
        version, accepted_us = map(int, opened)
        return Writing(version, accepted_us, collection)

    async def check(self, tenant: str, header: Header, writing: Writing) -> None:
        """Refuse when the version could not be committed any more."""
        args: list[str | int] = [writing.version, writing.accepted_us, header.fence, writing.collection]
        _check(await self._run(self._check, tenant, header.document_id, args, [INDEX]), header.document_id)

    async def commit(self, tenant: str, header: Header, writing: Writing, commit: Commit) -> Document:
        """Make a version live in one step and queue the erasure of those before it, or refuse."""
        document_id = header.document_id
        keys = [documents_key(tenant), commits_key(tenant), changes_key(tenant), CHANGES, INDEX, BARRIER]
        keys.append(stored_key(tenant))
        order: list[str | int] = [writing.version, writing.accepted_us, header.fence]
        args = [*order, document_id, writing.collection, *_fields(header, commit)]
        answer = await unbarred(lambda: self._run(self._commit, tenant, document_id, args, keys))
        if isinstance(answer, bytes):
            _check(answer, document_id)
        return parse(document_id, dict(zip(answer[::2], answer[1::2], strict=True)))

    async def abandon(self, tenant: str, document_id: str, version: int) -> None:
        """Queue the erasure of exactly this version, unless it is live."""
        await self._run(self._abandon, tenant, document_id, [version])

    async def revoke(self, tenant: str, document_id: str, accepted_us: int) -> int:
        """Refuse every version of one work from now on and give up those being written; or return the live one it made."""
        return int(await self._run(self._revoke, tenant, document_id, [accepted_us, REMEMBERED_S]))

    async def _run(
        self,
        script: AsyncScript,
        tenant: str,
        document_id: str,
        args: Sequence[str | int],
        keys: Sequence[str] = (),
    ) -> Any:
        with translated():
            return await script(
                keys=[*version_keys(tenant, document_id), *keys],
                args=[f"{tenant}/{document_id}", self._now_ms(), *args],
            )

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _check(refusal: bytes, document_id: str) -> None:
    if refusal:
        reason = refusal.decode()
        raise Conflict(_REFUSALS[reason], reason, document_id=document_id)


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
        "fingerprint": header.fingerprint,
    }
    return [part for pair in fields.items() for part in pair]
