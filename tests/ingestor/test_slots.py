"""Places for documents, and what becomes of those whose parser is slow."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingestor.slots import Slots
from tests.waiting import until


class Documents:
    """Documents that hold a place until they are told to go on."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.inside: dict[str, asyncio.Event] = {}
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, *, slow: bool = False) -> None:
        self.tasks.append(asyncio.create_task(self._run(name, slow=slow)))

    async def _run(self, name: str, *, slow: bool) -> None:
        async with self.slots.slot() as slot:
            self.inside[name] = asyncio.Event()
            try:
                await (slot.patiently(self.inside[name].wait()) if slow else self.inside[name].wait())
            finally:
                del self.inside[name]

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_as_many_as_there_are_places_get_in_first_come_first_served():
    documents = Documents(Slots(2, 2))
    for name in "abcd":
        documents.start(name)
    await until(lambda: set(documents.inside) == {"a", "b"})
    documents.inside["b"].set()
    await until(lambda: set(documents.inside) == {"a", "c"})
    await documents.end()
    assert documents.slots.working == 0


async def test_a_slow_document_lends_its_place_and_goes_on_at_once_when_it_can():
    documents = Documents(Slots(1, 1, patience_s=0.01))
    documents.start("slow", slow=True)
    documents.start("other")
    await until(lambda: "other" in documents.inside)
    assert (documents.slots.working, documents.slots.lent) == (1, 1)
    documents.inside["slow"].set()
    await until(lambda: "slow" not in documents.inside)
    assert set(documents.inside) == {"other"}
    await documents.end()


async def test_a_place_taken_back_lets_no_newcomer_in_before_both_are_through():
    slots = Slots(1, 1, patience_s=0.01)
    release, hold = asyncio.Event(), asyncio.Event()
    documents = Documents(slots)

    async def slow_then_busy() -> None:
        async with slots.slot() as slot:
            await slot.patiently(release.wait())
            await hold.wait()

    first = asyncio.create_task(slow_then_busy())
    documents.start("borrower")
    await until(lambda: "borrower" in documents.inside)
    release.set()
    await until(lambda: slots.working == 2)
    documents.start("newcomer")
    documents.inside["borrower"].set()
    await until(lambda: slots.working == 1)
    assert "newcomer" not in documents.inside
    hold.set()
    await until(lambda: "newcomer" in documents.inside)
    await first
    await documents.end()


async def test_no_more_places_are_lent_than_there_are_spare_ones():
    documents = Documents(Slots(1, 2, patience_s=0.01))
    for name in "abcd":
        documents.start(name, slow=True)
    await until(lambda: documents.slots.lent == 2)
    await until(lambda: set(documents.inside) == {"a", "b", "c"})
    documents.inside["a"].set()
    await until(lambda: set(documents.inside) == {"b", "c", "d"})
    await documents.end()
    assert (documents.slots.working, documents.slots.lent) == (0, 0)


async def test_what_is_awaited_comes_back_and_errors_too():
    async with Slots(1, 0, patience_s=0.01).slot() as slot:
        assert await slot.patiently(asyncio.sleep(0.03, "late")) == "late"

        async def fails() -> None:
            raise LookupError

        with pytest.raises(LookupError):
            await slot.patiently(fails())


async def test_a_call_off_reaches_what_is_awaited_and_frees_the_place():
    documents = Documents(Slots(1, 1, patience_s=0.01))
    documents.start("slow", slow=True)
    await until(lambda: documents.slots.lent == 1)
    await documents.end()
    assert not documents.inside
    assert (documents.slots.working, documents.slots.lent) == (0, 0)


STEPS = st.lists(
    st.tuples(st.sampled_from(("enter", "lend", "back", "leave", "call off")), st.integers(0, 9)), max_size=60
)


@settings(max_examples=150)
@given(st.integers(1, 3), st.integers(0, 3), STEPS)
def test_never_more_inside_than_count_and_spare_and_none_waits_without_need(count, spare, steps):
    asyncio.run(_play(count, spare, steps))


async def _play(count: int, spare: int, steps: list[tuple[str, int]]) -> None:
    slots = Slots(count, spare)
    inside: list[asyncio.Event] = []
    lent: list[asyncio.Event] = []
    tasks: list[asyncio.Task[None]] = []

    async def document() -> None:
        async with slots.slot():
            leave = asyncio.Event()
            inside.append(leave)
            await leave.wait()

    for step, number in steps:
        if step == "enter":
            tasks.append(asyncio.create_task(document()))
        elif step == "lend" and inside and slots.lend():
            lent.append(inside.pop(number % len(inside)))
        elif step == "back" and lent:
            slots.take_back()
            inside.append(lent.pop(number % len(lent)))
        elif step == "leave" and inside:
            inside.pop(number % len(inside)).set()
        elif step == "call off" and len(tasks) > len(inside) + len(lent):
            waiting = [task for task in tasks if not task.done()]
            waiting[-1].cancel() if len(waiting) > len(inside) + len(lent) else None
        for _ in range(5):
            await asyncio.sleep(0)
        waiting = sum(not task.done() for task in tasks) - len(inside) - len(lent)
        assert (slots.working, slots.lent) == (len(inside), len(lent))
        assert slots.lent <= spare
        assert slots.working + slots.lent <= count + spare
        assert not waiting or slots.working >= count or slots.working + slots.lent == count + spare
    for leave in [*inside, *lent]:
        leave.set()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
