"""Ending tasks for sure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

_AGAIN_S = 0.5


async def cancel_all(tasks: Iterable[asyncio.Task[object]]) -> None:
    """Cancel tasks and wait until all have ended.

    They are asked again and again: `asyncio.wait_for` of Python 3.11, which libraries use, can lose a cancel that meets a
    result just arriving. A task group asks its own tasks once only, so those it may happen to are better held outside of one.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_S)
