"""Equal work at the same time: done once, and nobody pays for another's deadline, error or leaving."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.runtime import context
from rag.runtime.context import CallContext
from rag.runtime.errors import DeadlineExceeded, Unavailable
from rag.runtime.single_flight import SingleFlight
from tests.clock import Clock
from tests.waiting import until


class Work:
    """Yields `first`, waits for the gate, then yields its number or raises."""

    def __init__(self, error: Exception | None = None):
        self.gate = asyncio.Event()
        self.started = 0
        self.cancelled = 0
        self.requests: list[str] = []
        self.error = error

    async def __call__(self) -> AsyncGenerator[object, None]:
        self.started += 1
        number = self.started
        try:
            yield "first"
            await self.gate.wait()
            self.requests.append(context._current.get(CallContext("none", "t")).request_id)
            if self.error:
                raise self.error
            yield number
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def collect(flights: SingleFlight, work: Work, key: str = "k", left_s: float | None = None, name: str = "r"):
    if left_s is not None:
        context.use(CallContext(name, "t", time.monotonic() + left_s))
    async with aclosing(flights.follow(key, work)) as events:
        return [event async for event in events]


async def running(work: Work, count: int = 1) -> None:
    await until(lambda: work.started == count)


async def begun(*waiting: asyncio.Task) -> None:
    """Let tasks that have just been made come to their first wait."""
    for _ in range(5):
        await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)


async def test_equal_work_is_done_once_and_everybody_hears_all_of_it() -> None:
    joined = []
    flights, work = SingleFlight(lambda: joined.append(1)), Work()
    tasks = [asyncio.create_task(collect(flights, work)) for _ in range(5)]
    await begun(*tasks)
    work.gate.set()
    assert await asyncio.gather(*tasks) == [["first", 1]] * 5
    assert (work.started, len(joined), flights._flights) == (1, 4, {})


async def test_other_keys_are_other_work() -> None:
    flights, work = SingleFlight(), Work()
    work.gate.set()
    results = await asyncio.gather(*(collect(flights, work, key) for key in "abc"))
    assert sorted(result[-1] for result in results) == [1, 2, 3]


async def test_what_is_over_is_not_joined() -> None:
    flights, work = SingleFlight(), Work()
    work.gate.set()
    assert await collect(flights, work) == ["first", 1]
    assert await collect(flights, work) == ["first", 2]


async def test_one_who_leaves_does_not_cancel_the_others() -> None:
    flights, work = SingleFlight(), Work()
    first, second = (asyncio.create_task(collect(flights, work)) for _ in range(2))
    await begun(first, second)
    first.cancel()
    await asyncio.wait({first})
    work.gate.set()
    assert await second == ["first", 1]
    assert not work.cancelled


async def test_the_last_one_who_leaves_cancels_the_work() -> None:
    flights, work = SingleFlight(), Work()
    tasks = [asyncio.create_task(collect(flights, work)) for _ in range(3)]
    await begun(*tasks)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert (work.cancelled, flights._flights) == (1, {})


async def test_an_error_is_everybodys() -> None:
    flights, work = SingleFlight(), Work(Unavailable("away", "AWAY"))
    tasks = [asyncio.create_task(collect(flights, work)) for _ in range(3)]
    await begun(*tasks)
    work.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [getattr(result, "reason", "") for result in results] == ["AWAY"] * 3
    assert work.started == 1


async def test_a_deadline_ends_the_waiting_of_its_caller_only() -> None:
    flights, work = SingleFlight(), Work()
    hurried = asyncio.create_task(collect(flights, work, left_s=1.0))
    await begun(hurried)
    patient = asyncio.create_task(collect(flights, work, left_s=1.9))
    await begun(patient)
    with pytest.raises(DeadlineExceeded):
        await hurried
    work.gate.set()
    assert await patient == ["first", 1]


async def test_work_begun_in_a_hurry_is_not_shared_with_those_who_have_time() -> None:
    flights, work = SingleFlight(), Work()
    hurried = asyncio.create_task(collect(flights, work, left_s=1.0))
    await begun(hurried)
    patient = asyncio.create_task(collect(flights, work, left_s=30.0))
    await running(work, 2)
    later = asyncio.create_task(collect(flights, work, left_s=25.0))
    await begun(later)
    work.gate.set()
    results = await asyncio.gather(hurried, patient, later)
    assert sorted(result[-1] for result in results) == [1, 2, 2]


class OutOfTime(Work):
    """Its steps end by the deadline that they began with."""

    async def __call__(self) -> AsyncGenerator[object, None]:
        self.started += 1
        number = self.started
        deadline = context.current().deadline
        yield "first"
        while number == 1 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        if number == 1:
            raise Unavailable("too late", "TOO_LATE")
        yield number


async def test_those_with_more_time_begin_anew_when_the_time_of_the_first_runs_out(clock: Clock) -> None:
    flights, work = SingleFlight(clock=time.monotonic), OutOfTime()
    hurried = asyncio.create_task(collect(flights, work, left_s=0.4))
    await begun(hurried)
    patient = [asyncio.create_task(collect(flights, work, left_s=0.7)) for _ in range(2)]
    await begun(*patient)
    results = await asyncio.gather(hurried, *patient, return_exceptions=True)
    assert isinstance(results[0], Unavailable | DeadlineExceeded)
    assert [result[-1] for result in results[1:]] == [2, 2]


async def test_the_work_knows_the_latest_deadline_and_the_first_caller() -> None:
    flights, seen = SingleFlight(), []
    gate = asyncio.Event()

    async def work() -> AsyncGenerator[object, None]:
        yield "first"
        await gate.wait()
        seen.append(context.current())
        yield "last"

    first = asyncio.create_task(collect(flights, work, left_s=10, name="one"))
    await begun(first)
    second = asyncio.create_task(collect(flights, work, left_s=15, name="two"))
    await begun(second)
    gate.set()
    await asyncio.gather(first, second)
    [call] = seen
    assert call.request_id == "one"
    assert call.deadline - time.monotonic() > 10


async def test_no_time_left_means_no_work() -> None:
    flights, work = SingleFlight(), Work()
    with pytest.raises(DeadlineExceeded):
        await asyncio.create_task(collect(flights, work, left_s=-1))
    assert (work.started, flights._flights) == (0, {})


STEPS = st.lists(st.tuples(st.sampled_from(["come", "leave", "turn", "end"]), st.integers(0, 5)), max_size=30)


@settings(max_examples=150)
@given(STEPS)
def test_whoever_comes_and_goes_everyone_who_stays_is_answered(steps: list[tuple[str, int]]) -> None:
    asyncio.run(_come_and_go(steps))


async def _come_and_go(steps: list[tuple[str, int]]) -> None:
    flights, work = SingleFlight(), Work()
    tasks: list[asyncio.Task] = []
    for step, number in steps:
        match step:
            case "come":
                tasks.append(asyncio.create_task(collect(flights, work, "ab"[number % 2])))
            case "leave" if tasks:
                tasks[number % len(tasks)].cancel()
            case "turn":
                await asyncio.sleep(0)
            case "end":
                work.gate.set()
                await asyncio.sleep(0)
                work.gate.clear()
    work.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        assert isinstance(result, asyncio.CancelledError) or (result[0], len(result)) == ("first", 2)
    assert not flights._flights
    assert len(asyncio.all_tasks()) == 1
