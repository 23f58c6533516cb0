"""Background work in rounds: at once when woken, else now and then, and later and later while it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from rag.runtime.errors import RagError
from rag.runtime.logs import get_logger

log = get_logger(__name__)

_MOST_DOUBLINGS = 10

Paused = Callable[[], Awaitable[bool]]
"""Whether removals must wait for a backup. Asked after reading what is to be removed: a "no" is then true of that."""


async def never() -> bool:
    """Return False: nobody pauses anything."""
    return False


class Rounds:
    """Calls one piece of work again and again.

    Args:
        idle_s: The pause after a round that succeeded, in seconds; it doubles with each failure.
        most_backoff_s: The longest pause.
        trouble: The log's word for a round that was broken off.
    """

    def __init__(self, idle_s: float, most_backoff_s: float, trouble: str) -> None:
        self._idle_s = idle_s
        self._most_backoff_s = most_backoff_s
        self._trouble = trouble
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """Begin the next round now."""
        self._awake.set()

    async def run(self, work: Callable[[], Awaitable[bool]]) -> None:
        """Work until cancelled; `work` returns whether nothing failed. A RagError that it raises is logged and counts as a failure."""
        failures = 0
        while True:
            self._awake.clear()
            failures = 0 if await self._succeeds(work) else min(failures + 1, _MOST_DOUBLINGS)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(self._idle_s * 2**failures, self._most_backoff_s)):
                    await self._awake.wait()

    async def _succeeds(self, work: Callable[[], Awaitable[bool]]) -> bool:
        try:
            return await work()
        except RagError as error:
            log.warning(self._trouble, reason=error.reason, cause=repr(error.__cause__))
            return False
