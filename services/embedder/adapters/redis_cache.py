"""Vectors in Redis, shared by all embedders."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from redis.asyncio import Redis
from redis.exceptions import RedisError

from rag.runtime.logs import get_logger
from rag.vectors import Vectors, pack
from services.embedder import metrics

TTL_S = 30 * 24 * 3600
_JITTER = 0.1
_TIMEOUT_S = 0.5
_REST_S = 2.0
_LOG_EVERY_S = 60.0

log = get_logger(__name__)


class RedisCache:
    """Raw little-endian float32 by key, for 30 days.

    A Redis that fails is left alone for two seconds, so that a hanging one costs a call half a second at most and not
    half a second for each of its batches.

    Args:
        redis: A client that gives bytes.
        clock: Monotonic seconds.
        random_unit: A number in [0, 1).
    """

    def __init__(
        self,
        redis: Redis,
        clock: Callable[[], float] = time.monotonic,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._random_unit = random_unit
        self._rest_until = float("-inf")
        self._log_after = float("-inf")

    async def get(self, keys: Sequence[str], dimension: int) -> Sequence[Vectors | None]:
        """Read all keys with one MGET; read-only vectors."""
        misses = [None] * len(keys)
        if not keys or self._resting():
            return misses
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                values = await self._redis.mget(keys)
        except (RedisError, OSError) as error:
            self._failed("read", error)
            return misses
        return [_vector(value, dimension) for value in values]

    async def put(self, vectors: Mapping[str, Vectors]) -> None:
        """Write all with one pipeline."""
        if not vectors or self._resting():
            return
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._redis.pipeline(transaction=False) as pipeline:
                for key, vector in vectors.items():
                    pipeline.set(key, pack(vector), ex=self._ttl_s())
                await pipeline.execute()
        except (RedisError, OSError) as error:
            self._failed("write", error)

    def _ttl_s(self) -> int:
        # Spread, so that what was written together does not expire together.
        return round(TTL_S * (1 + _JITTER * (2 * self._random_unit() - 1)))

    def _resting(self) -> bool:
        return self._clock() < self._rest_until

    def _failed(self, action: str, error: Exception) -> None:
        now = self._clock()
        metrics.CACHE_FAILURES.labels(action).inc()
        self._rest_until = now + _REST_S
        if now >= self._log_after:
            self._log_after = now + _LOG_EVERY_S
            log.warning("cache_bypassed", action=action, error=repr(error))


def _vector(value: bytes | str | None, dimension: int) -> Vectors | None:
    if not isinstance(value, bytes) or len(value) != 4 * dimension:
        return None
    return np.frombuffer(value, dtype="<f4")
