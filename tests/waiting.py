"""Waiting for something that becomes true, with a limit: never a bare sleep."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

LIMIT_S = 30.0


async def until(
    condition: Callable[[], bool | Awaitable[bool]], limit_s: float = LIMIT_S, why: Callable[[], str] = str
) -> None:
    """Return once `condition` holds; fail when it does not within the limit. `why` returns what may explain that."""
    end = time.monotonic() + limit_s
    while True:
        holds = condition()
        if await holds if inspect.isawaitable(holds) else holds:
            return
        assert time.monotonic() < end, f"not true within {limit_s} s: {condition} {why()}"
        await asyncio.sleep(0.02)


def until_sync(condition: Callable[[], bool], limit_s: float = LIMIT_S, why: Callable[[], str] = str) -> None:
    """Like `until`, for code without a loop."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"not true within {limit_s} s: {condition} {why()}"
        time.sleep(0.02)
