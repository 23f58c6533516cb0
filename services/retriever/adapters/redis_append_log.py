"""The append-only file of Redis, which keeps deleted values until it is rewritten."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from rag.runtime.errors import Unavailable
from rag.runtime.logs import get_logger
from services.retriever.adapters.redis_keys import translated
from services.retriever.metrics import LOG_REWRITES

_POLL_S = 0.1

log = get_logger(__name__)


class RedisAppendLog:
    """Has the file rewritten where Redis has one and allows it; elsewhere that is told once.

    Args:
        redis: The catalogue's Redis.
        limit_s: The longest to wait for one rewrite, in seconds.
    """

    def __init__(self, redis: Redis, limit_s: float = 120.0) -> None:
        self._redis = redis
        self._limit_s = limit_s
        self._told = ""

    async def rewrite(self) -> None:
        """Return when the file holds nothing any more of what was deleted before the call, as far as Redis allows.

        Raises:
            Unavailable: CATALOGUE_UNAVAILABLE, LOG_NOT_REWRITTEN.
        """
        try:
            async with asyncio.timeout(self._limit_s):
                with translated():
                    outcome = await self._rewrite()
        except TimeoutError as error:
            LOG_REWRITES.labels("failed").inc()
            raise Unavailable("Redis did not rewrite its file in time.", "LOG_NOT_REWRITTEN") from error
        LOG_REWRITES.labels(outcome).inc()
        if outcome == "failed":
            raise Unavailable("Redis could not rewrite its file.", "LOG_NOT_REWRITTEN")

    async def _rewrite(self) -> str:
        try:
            if not (await self._quiet())["aof_enabled"]:
                return self._tell("none")
            await self._redis.bgrewriteaof()
        except ResponseError as error:
            return self._tell("refused", error=repr(error))
        return "done" if (await self._quiet())["aof_last_bgrewrite_status"] == "ok" else "failed"

    async def _quiet(self) -> dict[str, Any]:
        """Wait until no rewrite runs or waits: one that began earlier may hold what was deleted since."""
        while True:
            state: dict[str, Any] = await self._redis.info("persistence")
            if not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]:
                return state
            await asyncio.sleep(_POLL_S)

    def _tell(self, outcome: str, **fields: str) -> str:
        if self._told != outcome:
            log.warning("append_only_file_not_rewritten", outcome=outcome, **fields)
        self._told = outcome
        return outcome
