"""The figures of the last evaluations in Redis. They are of the whole index, so no tenant stands in the keys."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis

from services.retriever.adapters.redis_keys import translated
from services.retriever.evaluation import Figures
from services.retriever.retrieval.query import Mode

FIGURES = "rag:evaluation:figures"
"""Hash: JSON, by `dataset/mode`."""
ORDER = "rag:evaluation:order"
"""Sorted set: `dataset/mode`, by when it was reported in ms."""

_KEEP = """
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
local over = redis.call('ZCARD', KEYS[2]) - ARGV[4]
if over <= 0 then return {} end
local dropped = redis.call('ZRANGE', KEYS[2], 0, over - 1)
redis.call('ZREM', KEYS[2], unpack(dropped))
redis.call('HDEL', KEYS[1], unpack(dropped))
return dropped
"""


class RedisEvaluations:
    """Keeps at most `most` figures and drops the oldest beyond that.

    Args:
        redis: The catalogue's Redis.
        most: How many.
        clock: Unix seconds.
    """

    def __init__(self, redis: Redis, most: int = 96, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._most = most
        self._clock = clock
        self._keep = redis.register_script(_KEEP)

    async def keep(self, figures: Figures) -> Sequence[tuple[str, Mode]]:
        """Keep figures in place of earlier ones; return dataset and mode of those that were dropped to make room."""
        record = [figures.queries, figures.precision_at_5, figures.ndcg_at_10, figures.recall_at_10]
        name = f"{figures.dataset}/{figures.mode.value}"
        args: list[str | int] = [name, json.dumps(record), int(self._clock() * 1000), self._most]
        with translated():
            dropped: Any = await self._keep(keys=[FIGURES, ORDER], args=args)
        return [_named(member) for member in dropped]

    async def all(self) -> Sequence[Figures]:
        """Return all figures that are kept."""
        with translated():
            kept: Any = await self._redis.hgetall(FIGURES)
        return [Figures(*_named(name), *json.loads(record)) for name, record in kept.items()]


def _named(member: bytes) -> tuple[str, Mode]:
    dataset, _, mode = member.decode().partition("/")
    return dataset, Mode(mode)
