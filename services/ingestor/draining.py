"""Does what is due, one after another, for as long as the service runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from rag.runtime.errors import RagError
from rag.runtime.logs import get_logger

log = get_logger(__name__)


async def drain(
    next_one: Callable[[], Awaitable[bool]], failed: str, pause: Callable[[float], Awaitable[None]], idle_s: float
) -> None:
    """Work until cancelled.

    Args:
        next_one: Does the next piece; False when none was due.
        failed: The event to log when it raises; what it was about comes due again by itself.
        pause: Waits so many seconds.
        idle_s: The pause when there was nothing to do, or it failed.
    """
    while True:
        try:
            busy = await next_one()
        except RagError as error:
            log.warning(failed, reason=error.reason, cause=repr(error.__cause__))
            busy = False
        if not busy:
            await pause(idle_s)
