"""Scrubbing: what erased rows left in the index's files is overwritten, soon after a deletion and lazily after an update."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from rag.runtime.errors import RagError
from rag.runtime.logs import get_logger
from services.retriever.metrics import SCRUB_SECONDS

log = get_logger(__name__)


class Scrubbable(Protocol):
    """The files of the index."""

    async def scrub(self) -> None:
        """Make sure that no file of the index holds a byte of rows that were erased before; searches go on meanwhile.

        Where the files are another server's, it is asked to, and does it in its own time.
        """


class Scrubbing:
    """Decides when it is worth it: its time grows with the whole store, not with what was erased.

    Args:
        index: What is scrubbed.
        lazy_s: How long the rests of replaced versions may stay, in seconds.
        clock: Seconds, monotonic.
    """

    def __init__(self, index: Scrubbable, lazy_s: float = 300.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._index = index
        self._lazy_s = lazy_s
        self._clock = clock
        # Nobody knows what was left to do when the process ended.
        self._noted_at: float | None = clock()
        self._scrubbing = asyncio.Lock()

    def note(self) -> None:
        """Take note that rows were erased."""
        if self._noted_at is None:
            self._noted_at = self._clock()

    async def scrub(self) -> None:
        """Return when nothing is left of what was erased before the call; at once when nothing was.

        Raises:
            RagError: it did not work and should be tried again.
        """
        async with self._scrubbing:
            noted_at, self._noted_at = self._noted_at, None
            if noted_at is None:
                return
            try:
                with SCRUB_SECONDS.time():
                    await self._index.scrub()
            except BaseException:
                self._noted_at = noted_at
                raise

    async def run(self) -> None:
        """Scrub lazily until cancelled."""
        while True:
            noted_at = self._clock() if self._noted_at is None else self._noted_at
            left_s = noted_at + self._lazy_s - self._clock()
            if left_s > 0:
                await asyncio.sleep(left_s)
                continue
            try:
                await self.scrub()
            except RagError as error:
                log.warning("scrub_failed", reason=error.reason, cause=repr(error.__cause__))
                self._noted_at = self._clock()
