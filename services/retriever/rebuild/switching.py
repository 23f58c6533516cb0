"""Switching: the new index goes live in one step, and only when nothing was committed that it does not hold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from rag.runtime import failpoints
from rag.runtime.errors import Unavailable
from rag.runtime.tasks import beside
from services.retriever.opening import Index
from services.retriever.rebuild.standing import Outcome, Retired

_TRIES = 3
_BARRED_S = 5.0
"""Writers go on by themselves this long after a process died that held them up."""
_RENEW_S = 1.0


class Board(Protocol):
    """Where it is written which index is live."""

    async def changes(self) -> int:
        """Return how many commits and deletions there were."""

    async def switch(self, outcome: Outcome, target: Index, changes: int, old: Retired, hold_s: float) -> bool:
        """Make `target` live instead of `old`, unless there were more than `changes` changes; return whether it is.

        For `hold_s` after it commits and deletions wait. LookupError when the rebuild is another's by now, or ended.
        """

    async def bar(self, seconds: float) -> None:
        """Have commits and deletions wait for so long, or until a switch."""

    async def unbar(self) -> None:
        """Let them go on."""


class Switching:
    """Switches, first without holding anybody up.

    Args:
        board: Where it is written.
        keep_s: How long the old index is kept.
        hold_s: How long writers wait after a switch: until every process has learnt of it.
        clock: Seconds since 1970.
        sleep: Waits.
    """

    def __init__(
        self,
        board: Board,
        keep_s: float,
        hold_s: float = 0.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._board = board
        self._keep_s = keep_s
        self._hold_s = hold_s
        self._clock = clock
        self._sleep = sleep

    async def switch(
        self, outcome: Outcome, target: Index, old: Index, live_at_ms: int, catch_up: Callable[[], Awaitable[object]]
    ) -> None:
        """Make `target` live; `catch_up` copies what was committed since the last time.

        Raises:
            LookupError: the rebuild is another's by now, or ended.
            Unavailable: as `catch_up` and the catalogue.
        """

        async def attempt() -> bool:
            changes = await self._board.changes()
            await catch_up()
            failpoints.reach("index_switching")
            drop_at_ms = int((self._clock() + self._keep_s) * 1000)
            retired = Retired(old, live_at_ms, drop_at_ms)
            return await self._board.switch(outcome, target, changes, retired, self._hold_s)

        for _ in range(_TRIES):
            if await attempt():
                return
        # Somebody writes all the time: this once they wait for us.
        await self._board.bar(_BARRED_S)
        has_switched = False
        try:
            has_switched = await beside(attempt(), self._stay_barred())
        finally:
            if not has_switched:  # a switch has set a barrier of its own
                await self._board.unbar()
        if not has_switched:
            raise Unavailable("The barrier was lost while the last changes were copied.", "INDEX_SWITCHING")

    async def _stay_barred(self) -> None:
        while True:
            await self._sleep(_RENEW_S)
            await self._board.bar(_BARRED_S)
