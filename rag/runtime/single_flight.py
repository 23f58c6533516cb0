"""Single flight: equal pieces of work that are wanted at the same time are done once."""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
from collections.abc import AsyncGenerator, Callable, Hashable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Generic, TypeVar

from rag.runtime import context
from rag.runtime.context import remaining_s, until_s
from rag.runtime.errors import DeadlineExceeded, Unavailable
from rag.runtime.tasks import cancel_all

K = TypeVar("K", bound=Hashable)
E = TypeVar("E")

Start = Callable[[], AsyncGenerator[E, None]]

_MARGIN_S = 0.025
"""Waiting ends this much before the caller's deadline, so that the caller can still be told why."""
_LATE_S = 0.1
_MARGIN_SHARE = 0.05
"""Less than what the index leaves: what the work says in the end is heard."""


class SingleFlight(Generic[K, E]):
    """Lets callers with the same key follow one stream, each from its beginning and until its own deadline.

    The work runs in the context of the first who wanted it, with the latest deadline of all. It is cancelled when the last
    one leaves. Its error is everybody's, except when its time ran out: those who have more begin anew. Who has
    far more time than it was begun with does not join it, because work in a hurry may have left something out.

    Args:
        joined: Called when a caller joins work that is running.
        clock: That of deadlines.
        most_ahead: How many events the work may be ahead of the caller who is furthest; then it waits.
        repeatable: Whether an event may come twice. For who was given one that may not, the work is not begun anew.
    """

    def __init__(
        self,
        joined: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        *,
        most_ahead: float = math.inf,
        repeatable: Callable[[E], bool] = lambda _event: True,
    ) -> None:
        self._joined = joined
        self._clock = clock
        self._most_ahead = most_ahead
        self._repeatable = repeatable
        self._flights: dict[K, _Flight[E]] = {}

    async def follow(self, key: K, start: Start[E]) -> AsyncGenerator[E, None]:
        """Yield what the work yields, one by one; else as `slices`."""
        async with aclosing(self.slices(key, start)) as slices:
            async for events in slices:
                for event in events:
                    yield event

    async def slices(self, key: K, start: Start[E]) -> AsyncGenerator[Sequence[E], None]:
        """Yield what the work yields: each time all that has come since, at least one event.

        When the work is begun anew, what came before its end may come again.

        Raises:
            DeadlineExceeded: the caller's time ran out.
            Exception: what the work raised.
        """
        while True:
            flight = self._join(key) or self._begin(key, start)
            flight.followers += 1
            given = 0
            try:
                async with aclosing(flight.slices()) as slices:
                    async for events in slices:
                        given += len(events)
                        yield events
            except Exception:
                if flight.ran_out_of_time(self._deadline()) and all(map(self._repeatable, flight.first(given))):
                    continue
                raise
            else:
                return
            finally:
                await self._leave(key, flight)

    def _join(self, key: K) -> _Flight[E] | None:
        flight = self._flights.get(key)
        if flight is None or not flight.suits(self._deadline(), self._clock()):
            return None
        self._joined()
        flight.extend(self._deadline())
        return flight

    def _begin(self, key: K, start: Start[E]) -> _Flight[E]:
        flight = self._flights[key] = _Flight(start, self._deadline(), self._clock, self._most_ahead)
        return flight

    async def _leave(self, key: K, flight: _Flight[E]) -> None:
        flight.followers -= 1
        if flight.followers:
            return
        if self._flights.get(key) is flight:
            del self._flights[key]
        await cancel_all([flight.task])

    def _deadline(self) -> float:
        return self._clock() + remaining_s(math.inf)


class _Flight(Generic[E]):
    """One piece of work under way, and what it has yielded so far."""

    def __init__(self, start: Start[E], deadline: float, clock: Callable[[], float], most_ahead: float) -> None:
        self.followers = 0
        self._most_ahead = most_ahead
        self._taken = 0
        self._room = asyncio.Event()
        self._clock = clock
        self._first_deadline = self._deadline = deadline
        self._is_over = False
        self._yielded: list[E] = []
        self._error: Exception | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._context = contextvars.copy_context()
        self.task = asyncio.create_task(self._run(start), context=self._context)

    def suits(self, deadline: float, now: float) -> bool:
        """Tell whether it has about as much time as a caller with this deadline."""
        return not self._is_over and (deadline - now) <= 2 * (self._deadline - now)

    def extend(self, deadline: float) -> None:
        """Let it go on until this deadline at least, from its next step on."""
        if deadline > self._deadline:
            self._deadline = deadline
            self._context.run(_use_deadline, deadline)

    def ran_out_of_time(self, deadline: float) -> bool:
        """Tell whether it may have failed for lack of time, while a caller with this deadline has more.

        A step that was under way when the time was extended still ended by the first deadline.
        """
        is_late = self._clock() >= self._first_deadline - _LATE_S
        return self._error is not None and is_late and deadline > self._first_deadline + _MARGIN_S

    def first(self, count: int) -> Sequence[E]:
        """Return the first events."""
        return self._yielded[:count]

    async def slices(self) -> AsyncGenerator[Sequence[E], None]:
        seen = 0
        while True:
            is_over, count = self._is_over, len(self._yielded)
            if count > seen:
                fresh, seen = self._yielded[seen:], count
                self._take(count)
                yield fresh
            elif is_over:
                break
            else:
                await self._news()
        if self._error is not None:
            raise self._error

    async def _run(self, start: Start[E]) -> None:
        try:
            async with aclosing(start()) as events:
                async for event in events:
                    self._yielded.append(event)
                    self._tell()
                    if len(self._yielded) - self._taken >= self._most_ahead:
                        await self._wait_for_room()
        except Exception as error:  # noqa: BLE001 - its followers raise it
            self._error = error
        except asyncio.CancelledError:
            self._error = Unavailable("The work was given up.", "GIVEN_UP")  # for those who follow it all the same
            raise
        finally:
            self._is_over = True
            self._tell()

    async def _wait_for_room(self) -> None:
        while len(self._yielded) - self._taken >= self._most_ahead:
            self._room.clear()
            await self._room.wait()

    def _take(self, count: int) -> None:
        if count > self._taken:
            self._taken = count
            self._room.set()

    def _tell(self) -> None:
        # A future per waiting follower, not an event: this is done for every token.
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    async def _news(self) -> None:
        try:
            async with asyncio.timeout(until_s(_MARGIN_S, _MARGIN_SHARE)):
                news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(news)
                await news
        except TimeoutError as error:
            raise DeadlineExceeded("The deadline passed before the work was done.", "DEADLINE_EXCEEDED") from error


def _use_deadline(deadline: float) -> None:
    context.use(replace(context.current(), deadline=deadline))
