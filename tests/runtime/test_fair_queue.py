from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.runtime.errors import DeadlineExceeded, Overloaded
from rag.runtime.fair_queue import FairQueue

TENANTS = st.sampled_from("abcd")


async def ticks(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Hall:
    """A queue and those who come to it; who got a place holds it until he is told to go."""

    def __init__(self, places: int, max_waiting: int = 100) -> None:
        self.queue = FairQueue(places, max_waiting)
        self.served: list[str] = []
        self.inside: list[tuple[str, asyncio.Event]] = []
        self.tasks: list[asyncio.Task[None]] = []

    def come(self, tenant: str) -> asyncio.Task[None]:
        self.tasks.append(asyncio.create_task(self._visit(tenant)))
        return self.tasks[-1]

    async def _visit(self, tenant: str) -> None:
        async with self.queue.place(tenant):
            go = asyncio.Event()
            self.served.append(tenant)
            self.inside.append((tenant, go))
            try:
                await go.wait()
            finally:
                self.inside.remove((tenant, go))

    async def end(self) -> None:
        while self.inside:
            self.inside[0][1].set()
            await ticks()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_one_who_comes_late_waits_for_one_round_only() -> None:
    hall = Hall(1)
    for tenant in "aaaaaaaabc":
        hall.come(tenant)
        await ticks()
    await hall.end()
    assert "".join(hall.served) == "aabcaaaaaa"


async def test_who_is_one_too_many_is_refused_and_takes_no_place() -> None:
    hall = Hall(1, max_waiting=2)
    for _ in range(3):
        hall.come("a")
        await ticks()
    with pytest.raises(Overloaded) as caught:
        async with hall.queue.place("b"):
            pass
    assert caught.value.reason == "TOO_MANY_WAITING"
    await hall.end()
    assert (hall.queue.free, hall.queue.waiting) == (1, 0)


async def test_who_waits_too_long_is_told_and_takes_no_place() -> None:
    hall = Hall(1)
    hall.come("a")
    await ticks()
    with pytest.raises(DeadlineExceeded):
        async with hall.queue.place("b", 0.001):
            pass
    await hall.end()
    assert (hall.queue.free, hall.queue.waiting) == (1, 0)


async def test_a_turn_that_comes_to_one_who_leaves_at_that_moment_is_passed_on() -> None:
    hall = Hall(1)
    hall.come("a")
    await ticks()
    left, stayed = hall.come("b"), hall.come("c")
    await ticks()
    hall.inside[0][1].set()
    await asyncio.sleep(0)  # a is leaving: the turn is b's, who does not know yet
    left.cancel()
    await ticks()
    assert hall.served == ["a", "c"]
    await hall.end()
    assert not stayed.cancelled()
    assert hall.queue.free == 1


@given(
    places=st.integers(1, 3),
    acts=st.lists(st.tuples(st.sampled_from(["come", "go", "leave", "tick"]), TENANTS), max_size=60),
)
def test_nothing_is_lost_and_each_tenant_is_served_within_a_round(places: int, acts: list[tuple[str, str]]) -> None:
    async def play() -> None:
        hall = Hall(places)
        for act, tenant in acts:
            match act:
                case "come":
                    hall.come(tenant)
                case "go" if hall.inside:
                    hall.inside[0][1].set()
                case "leave" if hall.tasks:
                    hall.tasks[len(hall.tasks) // 2].cancel()
                case "tick":
                    await ticks()
            assert len(hall.inside) <= places
        await ticks()
        assert not (hall.queue.free and hall.queue.waiting)
        await _one_round(hall)
        await hall.end()
        assert (hall.queue.free, hall.queue.waiting, dict(hall.queue._lines)) == (places, 0, {})

    asyncio.run(play())


async def _one_round(hall: Hall) -> None:
    waiting = {tenant for tenant, line in hall.queue._lines.items() if any(not turn.done() for turn in line)}
    before = len(hall.served)
    for _ in range(len(waiting)):
        hall.inside[0][1].set()
        await ticks()
    assert set(hall.served[before : before + len(waiting)]) == waiting


async def test_places_are_taken_side_by_side() -> None:
    queue = FairQueue(3, 0)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(queue.place("a"))
        with pytest.raises(Overloaded):
            await stack.enter_async_context(queue.place("b"))
    assert queue.free == 3
