"""The pause of removals: while a backup is taken, nothing that it may still need is removed from index and uploads.

Whoever removes something asks *after* it has read what is to be removed. A "no" then says that the reading was before the
pause began, and so before the state that the backup keeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

from rag.ids import new_id
from rag.runtime.errors import Conflict, Unavailable
from rag.runtime.redis import reached
from rag.runtime.tasks import cancel_all

KEY = "rag:pause:removals"
"""Text: whose pause it is. It ends by itself, so that a backup that died holds nothing up."""
_TTL_MS = 30_000
_RENEW_S = 8.0

# KEYS: the pause. ARGV: whose, how long in ms. Returns 0 when it is over or another's: a new one may have missed removals.
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_LIFT = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""


async def is_paused(redis: Redis) -> bool:
    """Return whether removals must wait.

    Raises:
        Unavailable: REDIS_UNAVAILABLE: nobody knows.
    """
    with reached("Redis cannot be reached.", "REDIS_UNAVAILABLE"):
        return bool(await redis.exists(KEY))


class Pause:
    """A pause that is held."""

    def __init__(self, redis: Redis, owner: str) -> None:
        self._redis = redis
        self._owner = owner
        self._renew = redis.register_script(_RENEW)
        self._lift = redis.register_script(_LIFT)

    async def check(self) -> None:
        """Make it last again.

        Raises:
            Unavailable: PAUSE_LOST when it ended since it began, for however short a time.
        """
        if not await self._renew(keys=[KEY], args=[self._owner, _TTL_MS]):
            message = "The pause of removals ended before the backup was done; take it again."
            raise Unavailable(message, "PAUSE_LOST")

    async def lift(self) -> None:
        """End it; removals go on."""
        await self._lift(keys=[KEY], args=[self._owner])


@asynccontextmanager
async def paused(
    redis: Redis, pause: Callable[[float], Awaitable[None]] = asyncio.sleep, owner: str = ""
) -> AsyncIterator[Pause]:
    """Hold a pause for the length of a block. Before leaving it, `check` tells whether it held all the time.

    Raises:
        Conflict: BACKUP_RUNNING.
    """
    held = Pause(redis, owner or new_id("backup"))
    if not await redis.set(KEY, held._owner, nx=True, px=_TTL_MS):  # noqa: SLF001 - made here
        message = "Another backup is being taken. If it died, its pause ends within 30 seconds."
        raise Conflict(message, "BACKUP_RUNNING")
    renewing = asyncio.create_task(_keep(held, pause))
    try:
        yield held
    finally:
        await cancel_all([renewing])
        await held.lift()


async def _keep(held: Pause, pause: Callable[[float], Awaitable[None]]) -> None:
    """Renew it until cancelled. What fails here is found by the check at the end."""
    while True:
        await pause(_RENEW_S)
        try:
            await held.check()
        except (RedisError, OSError):
            continue
