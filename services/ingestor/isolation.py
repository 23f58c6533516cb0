"""Runs work in a task of its own, so that a cancel and an error that meet cannot hide each other."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def isolated(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`; a cancel of the caller always ends in CancelledError, whatever `work` makes of it.

    A task group that fails leaves its task counted as cancelled (Python 3.11 and 3.12), which breaks timeouts around
    it, and one that is cancelled while it fails reports the failure alone. Neither reaches the caller from here.
    """
    caller = asyncio.current_task()
    if caller is None:
        raise RuntimeError("not inside a task")
    before = caller.cancelling()
    try:
        return await asyncio.create_task(work)
    except asyncio.CancelledError as error:
        if caller.cancelling() > before:
            raise
        raise RuntimeError("the work was cancelled from inside") from error
    except BaseException as error:
        if caller.cancelling() > before:
            raise asyncio.CancelledError from error
        raise
