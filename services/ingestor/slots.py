"""How many documents are worked on at once, and what becomes of a place whose document does not get on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from rag.runtime.tasks import cancel_all

T = TypeVar("T")

PATIENCE_S = 0.75


class Slots:
    """Places for documents.

    A document whose parser is slow lends its place to another one, so that it holds up nobody. When it gets on, it does so
    at once: the place is taken back from the next newcomer, not from the document that has it. So there are never more
    than `count` + `spare` documents inside, and each of them gets on as soon as it can.

    Args:
        count: Documents at work.
        spare: Documents that may have lent their place, at once.
        patience_s: How long a document may keep its place without getting on.
    """

    def __init__(self, count: int, spare: int, patience_s: float = PATIENCE_S) -> None:
        self.patience_s = patience_s
        self._count = count
        self._spare = spare
        self._working = 0
        self._lent = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def working(self) -> int:
        """How many documents are inside and have not lent their place."""
        return self._working

    @property
    def lent(self) -> int:
        """How many places are lent."""
        return self._lent

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Wait for a place, first come first served, and hold it for the length of the block."""
        await self._enter()
        try:
            yield Slot(self)
        finally:
            self._working -= 1
            self._let_in()

    def lend(self) -> bool:
        """Give a place away for a while; False when enough are lent already."""
        if self._lent >= self._spare:
            return False
        self._lent += 1
        self._working -= 1
        self._let_in()
        return True

    def take_back(self) -> None:
        """Go on after `lend`."""
        self._lent -= 1
        self._working += 1

    async def _enter(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # let in and called off in the same moment
                self._working -= 1
                self._let_in()
            raise

    def _let_in(self) -> None:
        while self._waiting and self._working < self._count and self._working + self._lent < self._count + self._spare:
            turn = self._waiting.popleft()
            if not turn.done():
                self._working += 1
                turn.set_result(None)


class Slot:
    """One document's place."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    async def patiently(self, work: Awaitable[T]) -> T:
        """Await `work`; when it takes long, another document has the place meanwhile."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task}, timeout=self._slots.patience_s)
            while not task.done():
                await self._impatiently(task)
            return await task
        finally:
            await cancel_all([task])

    async def _impatiently(self, task: asyncio.Future[T]) -> None:
        if not self._slots.lend():
            await asyncio.wait({task}, timeout=self._slots.patience_s)
            return
        try:
            await asyncio.wait({task})
        finally:
            self._slots.take_back()
