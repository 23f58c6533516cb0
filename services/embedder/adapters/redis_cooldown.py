"""One cooldown for each endpoint, shared by all processes through Redis."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.embedder.adapters.redis_rest import Rest

_TIMEOUT_S = 0.25

# KEYS: the cooldown. ARGV: how long it lasts, in ms.
_BEGIN = """
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
end
"""


class RedisCooldown:
    """The end of a cooldown in this process, and an expiring key for the others. Without Redis it is this process's alone.

    Args:
        redis: A client.
        base_url: Names the endpoint. It is kept as a hash, without user and password.
        clock: Monotonic seconds.
    """

    def __init__(self, redis: Redis, base_url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._key = cooldown_key(base_url)
        self._clock = clock
        self._rest = Rest(clock)
        self._until = float("-inf")

    async def left_s(self) -> float:
        """Return the seconds left; 0 when there is none."""
        left = self._until - self._clock()
        if left > 0 or self._rest.on:
            return max(0.0, left)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                left_ms = await self._redis.pttl(self._key)
        except (RedisError, OSError) as error:
            self._rest.failed("cooldown", error)
            return 0.0
        self._extend(left_ms / 1000)
        return max(0.0, left_ms / 1000)

    async def begin(self, seconds: float) -> None:
        """Begin one, or prolong it; one that lasts longer stays as it is."""
        self._extend(seconds)
        milliseconds = round(1000 * seconds)
        if milliseconds <= 0 or self._rest.on:
            return
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await self._redis.eval(_BEGIN, 1, self._key, str(milliseconds))
        except (RedisError, OSError) as error:
            self._rest.failed("cooldown", error)

    def _extend(self, seconds: float) -> None:
        if seconds > 0:
            self._until = max(self._until, self._clock() + seconds)


def cooldown_key(base_url: str) -> str:
    """Return the key of an endpoint's cooldown."""
    parts = urlsplit(base_url)
    endpoint = f"{parts.scheme}://{parts.hostname}:{parts.port or ''}{parts.path.rstrip('/')}"
    return f"rag:cooldown:{hashlib.sha256(endpoint.encode()).hexdigest()}"
