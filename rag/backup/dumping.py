"""The state of Redis as one file: asked for with BGSAVE, waited for, copied."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from rag.backup.files import move
from rag.runtime.errors import Unavailable

_POLL_S = 0.05
_LIMIT_S = 600.0


async def dump(redis: Redis, target: Path, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Put the state of this Redis, as it is at one moment during the call, into the file `target`.

    Raises:
        Unavailable: REDIS_NOT_SAVED.
    """
    try:
        async with asyncio.timeout(_LIMIT_S):
            await _begin(redis, pause)
            state = await _quiet(redis, pause)
    except TimeoutError as error:
        raise Unavailable("Redis did not save its state in time.", "REDIS_NOT_SAVED") from error
    if state["rdb_last_bgsave_status"] != "ok":
        raise Unavailable("Redis could not save its state: is the disk full?", "REDIS_NOT_SAVED")
    # Moved, not copied: it is not loaded at a start, and would only keep what is deleted from now on.
    await asyncio.to_thread(move, await _path(redis), target)


async def _begin(redis: Redis, pause: Callable[[float], Awaitable[None]]) -> None:
    """Have a new save begin; one that began before the call may hold an older state."""
    while True:
        state = await _quiet(redis, pause)
        if state["aof_rewrite_in_progress"]:
            await pause(_POLL_S)
            continue
        try:
            await redis.bgsave(schedule=False)
        except ResponseError as error:
            if "in progress" not in str(error):
                raise Unavailable(f"Redis does not save its state: {error}.", "REDIS_NOT_SAVED") from error
            await pause(_POLL_S)
        else:
            return


async def _quiet(redis: Redis, pause: Callable[[float], Awaitable[None]]) -> dict[str, Any]:
    while True:
        state: dict[str, Any] = await redis.info("persistence")
        if not state["rdb_bgsave_in_progress"]:
            return state
        await pause(_POLL_S)


async def _path(redis: Redis) -> Path:
    return Path(await _setting(redis, "dir")) / await _setting(redis, "dbfilename")


async def _setting(redis: Redis, name: str) -> str:
    found: Any = await redis.config_get(name)  # one at a time: before Redis 7 it takes no more
    [value] = found.values()
    return value.decode() if isinstance(value, bytes) else str(value)
