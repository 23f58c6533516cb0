"""The queue of erasures in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis

from services.retriever.adapters import redis_scripts as scripts
from services.retriever.adapters.redis_keys import ERASURES, OPEN_VERSIONS, translated
from services.retriever.upkeep.erasure import Erasure

_AT_ONCE = 1_000


class RedisErasures:
    """A sorted set by when each is due. Entries leave it only when the erasure was verified."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._clock = clock
        self._give_up = redis.register_script(scripts.GIVE_UP)
        self._forget = redis.register_script(scripts.FORGET)

    async def due(self, limit: int) -> Sequence[Erasure]:
        """Return the erasures that are due, oldest first; versions that were left open come due after a while."""
        now = int(self._clock() * 1000)
        with translated():
            await self._give_up(keys=[OPEN_VERSIONS, ERASURES], args=[now, now, _AT_ONCE])
            members: Any = await self._redis.zrangebyscore(ERASURES, "-inf", now, 0, limit, withscores=True)
        return [_parse(member.decode(), int(due_ms)) for member, due_ms in members]

    async def give_up_all(self) -> None:
        """Make the erasure of every open version due: for an index whose only writer has just started."""
        now = int(self._clock() * 1000)
        with translated():
            while await self._redis.zcard(OPEN_VERSIONS):
                await self._give_up(keys=[OPEN_VERSIONS, ERASURES], args=["+inf", now, _AT_ONCE])

    async def done(self, erasure: Erasure) -> None:
        """Forget an erasure, unless it was asked for again since."""
        with translated():
            await self._forget(keys=[ERASURES], args=[_member(erasure), erasure.due_ms])

    async def pending(self) -> int:
        """Return how many there are."""
        with translated():
            return int(await self._redis.zcard(ERASURES))


def _member(erasure: Erasure) -> str:
    return f"{erasure.tenant}/{erasure.document_id}/{erasure.first}-{erasure.last}"


def _parse(member: str, due_ms: int) -> Erasure:
    tenant, document_id, versions = member.split("/")
    first, last = versions.split("-")
    return Erasure(tenant, document_id, int(first), int(last), due_ms)
