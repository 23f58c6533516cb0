"""Redis connections with our own limits: the defaults of the client wait and retry for most of a minute."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError

from rag.runtime.errors import Unavailable

_CONNECTIONS = 50
_TIMEOUT_S = 1.0


@contextmanager
def reached(message: str, reason: str) -> Iterator[None]:
    """Turn an error of Redis inside a block into one of the house.

    Raises:
        Unavailable: with this sentence and reason.
    """
    try:
        yield
    except (RedisError, OSError) as error:
        raise Unavailable(message, reason) from error


@asynccontextmanager
async def open_redis(url: str, block_s: float = 0.0) -> AsyncIterator[Redis]:
    """Open a pool of connections for the length of a block. Values are bytes.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        block_s: How long the longest blocking command of this client blocks, in seconds.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=_TIMEOUT_S,
        socket_timeout=_TIMEOUT_S + block_s,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(ConstantBackoff(0.02), 1),
        decode_responses=False,
        legacy_responses=False,
    )
    client: Redis = Redis.from_pool(pool)
    try:
        yield client
    finally:
        await client.aclose()
