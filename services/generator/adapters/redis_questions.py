"""Answered questions in Redis: a stream for each tenant and space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from redis.asyncio import Redis

from rag.runtime.errors import InvalidInput
from rag.runtime.redis import reached
from rag.vectors import pack, unpack
from services.generator.caching.mirrors import MAX_QUESTIONS, Noted, Update

_SPACES_S = 7 * 24 * 3600
"""Longer than answers are kept."""
_AT_ONCE = 100
_AWAY = ("The answered questions are not reachable.", "QUESTIONS_UNAVAILABLE")


class RedisQuestions:
    """Each method is one round trip. The streams hold the words of questions, as long as their answers are kept."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def since(self, tenant: str, space: str, last: str) -> Update:
        """Return what was noted after `last`, oldest first, and which is the oldest; Unavailable when it cannot be read."""
        key = questions_key(tenant, space)
        async with self._redis.pipeline(transaction=False) as both:
            both.xrange(key, count=1)
            both.xrange(key, min=f"({last}" if last else "-", count=MAX_QUESTIONS)
            with reached(*_AWAY):
                first, new = await both.execute()
        noted = [found for entry_id, fields in new if (found := _noted(entry_id, fields))]
        return Update(last, first[0][0].decode() if first else "", noted)

    async def note(self, tenant: str, space: str, noted: Noted, ttl_s: int) -> None:
        """Add a question to the newest; Unavailable when it cannot be written."""
        key = questions_key(tenant, space)
        fields: dict[Any, Any] = {"key": noted.key, "question": noted.question, "vector": pack(noted.vector)}
        async with self._redis.pipeline(transaction=True) as both:
            both.xadd(key, fields, maxlen=MAX_QUESTIONS, approximate=True)
            both.expire(key, ttl_s)
            both.sadd(spaces_key(tenant), space)
            both.expire(spaces_key(tenant), max(ttl_s, _SPACES_S))
            with reached(*_AWAY):
                await both.execute()

    async def forget(self, tenant: str) -> None:
        """Erase all questions of a tenant; Unavailable when they cannot be reached."""
        with reached(*_AWAY):
            while spaces := await self._some(tenant):
                async with self._redis.pipeline(transaction=True) as both:
                    both.unlink(*(questions_key(tenant, space.decode()) for space in spaces))
                    both.srem(spaces_key(tenant), *spaces)
                    await both.execute()

    async def _some(self, tenant: str) -> list[bytes]:
        found: Any = await self._redis.srandmember(spaces_key(tenant), _AT_ONCE)
        return list(found)


def spaces_key(tenant: str) -> str:
    """Return the key of the spaces in which a tenant's questions are (set). It expires."""
    return f"rag:{tenant}:question_spaces"


def questions_key(tenant: str, space: str) -> str:
    """Return the key of the questions of a space (stream: key, question, vector). It expires."""
    return f"rag:{tenant}:questions:{space}"


def _noted(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Noted | None:
    """Return an entry as it was noted; None when its form is another one, such as an older version's."""
    try:
        vector = unpack(fields[b"vector"], len(fields[b"vector"]) // np.dtype("<f4").itemsize)[0]
        return Noted(entry_id.decode(), fields[b"key"].decode(), fields[b"question"].decode(), vector)
    except (KeyError, InvalidInput, UnicodeDecodeError):
        return None
