"""Tasks that run together and end for sure.

Not asyncio.TaskGroup: it cancels its tasks once, and `asyncio.wait_for` of Python 3.11, which libraries use, can lose a cancel
that meets a result just arriving; a group then waits for ever. Here they are asked again and again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from rag.runtime.logs import get_logger

T = TypeVar("T")

log = get_logger(__name__)

_AGAIN_S = 0.5


async def cancel_all(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until all have ended, whatever they end with. A cancel of the caller waits for that too."""
    pending = {task for task in tasks if not task.done()}
    interrupted: asyncio.CancelledError | None = None
    while pending:
        for task in pending:
            task.cancel()
        try:
            _, pending = await asyncio.wait(pending, timeout=_AGAIN_S)
        except asyncio.CancelledError as error:
            interrupted = error
            pending = {task for task in pending if not task.done()}
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, so that it is not reported as forgotten
    if interrupted:
        raise interrupted


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """Finish `work` even when the caller leaves: there is no good place to stop inside it. Then the cancel goes on."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled() and task.exception():
            log.warning("failed_after_its_caller_left", error=repr(task.exception()))
        raise


async def together(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run works at the same time; return their results in order.

    The first to fail ends the others, and its error is raised as it is. All have ended when this returns or raises.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = [task for task in tasks if task.done() and not task.cancelled() and task.exception()]
        return [task.result() for task in failed or tasks]
    finally:
        await cancel_all(tasks)


async def beside(work: Coroutine[Any, Any, T], side: Coroutine[Any, Any, None]) -> T:
    """Run `work` with `side` beside it, which is ended with it; return the result of `work`.

    A side that fails ends the work, and its error is raised. Both have ended when this returns or raises.
    """
    main, other = asyncio.create_task(work), asyncio.create_task(side)
    try:
        await asyncio.wait({main, other}, return_when=asyncio.FIRST_COMPLETED)
        if other.done() and not main.done():
            other.result()
        return await main
    finally:
        await cancel_all([main, other])
