"""Places for work that is done side by side, shared fairly: who waits is served in turns, one of each tenant."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rag.runtime.errors import DeadlineExceeded, Overloaded


class FairQueue:
    """A number of places. When all are taken, tenants take turns; those of one tenant come in the order of their arrival.

    Every tenant that waits gets a place before another one gets its second. Entering and leaving cost the same however many wait.

    Args:
        places: How many work at once.
        max_waiting: How many may wait, all tenants together; one more is refused.
        name: What the places are for, as a caller reads it who is refused.
    """

    def __init__(self, places: int, max_waiting: int, name: str = "work") -> None:
        self._free = places
        self._max_waiting = max_waiting
        self._name = name
        self._lines: OrderedDict[str, OrderedDict[asyncio.Future[None], None]] = OrderedDict()
        """Those who wait, by tenant; the first tenant is the next."""
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting

    @property
    def free(self) -> int:
        """How many places are free."""
        return self._free

    @asynccontextmanager
    async def place(self, tenant: str, wait_s: float | None = None) -> AsyncIterator[None]:
        """Hold a place for the length of a block.

        Args:
            tenant: Whose turn it takes.
            wait_s: How long to wait for one at most, in seconds.

        Raises:
            Overloaded: TOO_MANY_WAITING.
            DeadlineExceeded: when the wait was too long.
        """
        if self._free and not self._waiting:
            self._free -= 1
        else:
            await self._turn(tenant, wait_s)
        try:
            yield
        finally:
            self._leave()

    async def _turn(self, tenant: str, wait_s: float | None) -> None:
        if self._waiting >= self._max_waiting:
            raise Overloaded(f"Too many wait for {self._name}; come back a little later.", "TOO_MANY_WAITING")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(tenant, OrderedDict())[turn] = None
        self._waiting += 1
        try:
            async with asyncio.timeout(wait_s):
                await turn
        except BaseException as error:
            self._give_up(tenant, turn)
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded(f"The wait for {self._name} was too long.", "DEADLINE_EXCEEDED") from error
            raise

    def _give_up(self, tenant: str, turn: asyncio.Future[None]) -> None:
        line = self._lines.get(tenant, OrderedDict())
        if turn in line:
            del line[turn]
            self._waiting -= 1
            if not line:
                del self._lines[tenant]
        elif not turn.cancelled():
            self._leave()  # the turn came just before he left: it is passed on

    def _leave(self) -> None:
        while self._lines:
            tenant, line = self._lines.popitem(last=False)
            turn, _ = line.popitem(last=False)
            self._waiting -= 1
            if line:
                self._lines[tenant] = line
            if not turn.done():  # one that is cancelled has not woken up yet
                turn.set_result(None)
                return
        self._free += 1
