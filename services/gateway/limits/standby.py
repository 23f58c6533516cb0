"""Books that are always there: the shared ones, and those of this process while the shared ones are away or slow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

from rag.runtime.errors import Unavailable
from rag.runtime.logs import get_logger
from rag.runtime.tasks import cancel_all
from services.gateway.limits.ledger import NOTHING, Ask, Ledger, Spent, Totals, Verdict
from services.gateway.limits.memory_ledger import PREFIX, MemoryLedger

T = TypeVar("T")

log = get_logger(__name__)

_PAUSE_S = 1.0
_SLOW_IN_A_ROW = 3
_BOOKING_S = 1.0


class Shared(Ledger, Protocol):
    """Books that other processes keep too. Each act raises Unavailable when they cannot be reached."""

    async def renew(self) -> None:
        """Make what this process holds last longer."""
        ...

    def let_go(self, slot: str) -> None:
        """Renew a slot no more, so that it frees itself."""
        ...

    async def pause(self) -> None:
        """Wait until it is time to renew again."""
        ...


class Standby:
    """A limit must not cost an answer: where the shared books say nothing within moments, this process decides the call by its own.

    Its own follow the rates of the shared ones, so one slow word gives nobody a second burst. Books that cannot be reached, or were
    slow several times in a row, are left alone for a second. Meanwhile a tenant may do in each process what it may do in all together;
    what its answers took is booked when the shared books are back.

    Args:
        shared: The books of all.
        own: Those of this process.
        patience_s: How long a call waits for the shared ones, in seconds.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        shared: Shared,
        own: MemoryLedger,
        patience_s: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared = shared
        self._own = own
        self._patience_s = patience_s
        self._clock = clock
        self._away_until = float("-inf")
        self._is_away = False
        self._slow = 0
        self._owed: dict[str, Spent] = {}
        self._late: set[asyncio.Task[None]] = set()

    async def take(self, tenant: str, ask: Ask) -> Verdict:
        """Take a call on, or refuse it."""
        verdict = await self._asked(partial(self._taken, tenant, ask), self._patience_s)
        if verdict is None:
            return await self._own.take(tenant, ask)
        if ask.limits.period_us:
            self._own.follow(tenant, verdict.backlog_us)
        return verdict

    async def give_back(self, tenant: str, slot: str, spent: Spent) -> None:
        """End what a call holds; what it took is booked where it counts for all, later if that cannot be reached now."""
        if slot.startswith(PREFIX):
            await self._own.give_back(tenant, slot, spent)
            if spent == NOTHING:
                return
        owed = self._owed.pop(tenant, NOTHING) + spent

        async def booked() -> bool:
            await self._shared.give_back(tenant, slot, owed)
            return True

        if not await self._asked(booked, _BOOKING_S):
            self._shared.let_go(slot)
            if owed != NOTHING:
                self._owed[tenant] = self._owed.get(tenant, NOTHING) + owed

    async def totals(self, tenant: str) -> Totals:
        """Return a tenant's books; those of this process while the others are away."""
        totals = await self._asked(partial(self._shared.totals, tenant), _BOOKING_S)
        return totals or await self._own.totals(tenant)

    def known_backlog_us(self, tenant: str) -> int:
        """Return the time of the calls that are not paid off yet, by the books that were asked last."""
        return self._own.known_backlog_us(tenant)

    async def keep(self) -> None:
        """Renew what this process holds, for ever."""
        while True:
            await self._shared.pause()
            await self._asked(self._shared.renew, _BOOKING_S)
            for tenant in tuple(self._owed):
                await self.give_back(tenant, "", NOTHING)

    async def close(self) -> None:
        """Wait until all is given back that came too late."""
        while self._late:
            await asyncio.wait(self._late)

    async def _taken(self, tenant: str, ask: Ask) -> Verdict:
        if not ask.holds:
            return await self._shared.take(tenant, ask)
        taking = asyncio.create_task(self._shared.take(tenant, ask))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            # Cut off, it might hold a slot that nobody here knows of.
            late = asyncio.create_task(self._undo(tenant, taking))
            self._late.add(late)
            late.add_done_callback(self._late.discard)
            raise

    async def _undo(self, tenant: str, taking: asyncio.Task[Verdict]) -> None:
        await asyncio.wait({taking}, timeout=_BOOKING_S)
        await cancel_all([taking])
        if not taking.cancelled() and not taking.exception() and taking.result().slot:
            await self.give_back(tenant, taking.result().slot, NOTHING)

    async def _asked(self, act: Callable[[], Awaitable[T]], patience_s: float) -> T | None:
        """Return what the shared books say, None when they say nothing in time."""
        if self._clock() < self._away_until:
            return None
        try:
            async with asyncio.timeout(patience_s):
                answer = await act()
        except TimeoutError as error:
            self._slow += 1
            if self._slow >= _SLOW_IN_A_ROW:
                self._lost(error)
            return None
        except Unavailable as error:
            self._lost(error)
            return None
        self._slow = 0
        if self._is_away:
            self._is_away = False
            log.info("limits_shared_again")
        return answer

    def _lost(self, error: Exception) -> None:
        self._away_until = self._clock() + _PAUSE_S
        if not self._is_away:
            self._is_away = True
            log.warning("limits_counted_here", why=repr(error.__cause__ or error))
