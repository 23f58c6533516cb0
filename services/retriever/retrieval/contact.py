"""Whether the catalogue's store can be reached, as those see it who ask it on behalf of searches."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from rag.runtime.context import remaining_s
from rag.runtime.errors import Unavailable

T = TypeVar("T")

_ANSWER_S = 1.0
_PROBE_S = 0.25


class Contact:
    """Asks while there are answers; while there are none, one asks at a time and the others wait for how that ends.

    So a store that hangs holds up a search for a moment only, and the first answer ends it for all.

    Args:
        answer_s: How long an answer may take, in seconds.
        probe_s: How long it may take after one did not come.
        clock: Seconds.
    """

    def __init__(
        self, answer_s: float = _ANSWER_S, probe_s: float = _PROBE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._answer_s = answer_s
        self._probe_s = probe_s
        self._clock = clock
        self._probe: asyncio.Event | None = None
        self._answered = -math.inf
        self.is_lost = False

    def silent_s(self) -> float:
        """Return how long ago the last answer came, in seconds."""
        return self._clock() - self._answered

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Return the answer.

        Raises:
            Unavailable: CATALOGUE_UNAVAILABLE.
            DeadlineExceeded: the call has no time left.
        """
        if not self.is_lost:
            return await self._within(self._answer_s, question)
        if self._probe is not None:
            return await self._after(self._probe, question)
        self._probe = probe = asyncio.Event()
        try:
            return await self._within(self._probe_s, question)
        finally:
            self._probe = None
            probe.set()

    async def _after(self, probe: asyncio.Event, question: Callable[[], Awaitable[T]]) -> T:
        with suppress(TimeoutError):
            async with asyncio.timeout(min(self._probe_s, remaining_s(math.inf) / 2)):
                await probe.wait()
        if self.is_lost:
            raise _away()
        return await self._within(self._answer_s, question)

    async def _within(self, limit_s: float, question: Callable[[], Awaitable[T]]) -> T:
        allowed_s = remaining_s(math.inf) / 2
        try:
            async with asyncio.timeout(min(limit_s, allowed_s)):
                answer = await question()
        except (TimeoutError, Unavailable) as error:
            # That a hurried caller could not wait says nothing about the store.
            self.is_lost = self.is_lost or limit_s <= allowed_s or isinstance(error, Unavailable)
            raise _away() from error
        self.is_lost, self._answered = False, self._clock()
        return answer


def _away() -> Unavailable:
    return Unavailable("The catalogue is not reachable.", "CATALOGUE_UNAVAILABLE")
