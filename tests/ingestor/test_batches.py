"""Passages on their way to the embedder, the clock of busy stages, and the estimate of the time left."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from rag.passage import Passage
from services.ingestor.batches import Batches
from services.ingestor.busy import BusyClock, BusySeconds, Shift
from services.ingestor.estimate import seconds_left
from services.ingestor.jobs import Progress
from tests.waiting import until

MAX_TOKENS = 500


def passage(ordinal: int, tokens: int = 100, text: str = "x") -> Passage:
    return Passage(
        id=f"psg_{ordinal}",
        document_id="doc",
        ordinal=ordinal,
        text=text,
        heading="",
        page=0,
        char_start=0,
        char_end=1,
        token_count=tokens,
    )


async def test_what_is_at_hand_is_taken_at_once_when_nothing_is_at_work():
    batches = Batches(MAX_TOKENS)
    await batches.put(passage(0))
    assert [taken.ordinal for taken in await batches.take()] == [0]


async def test_less_than_a_full_batch_waits_for_the_one_at_work():
    batches = Batches(MAX_TOKENS)
    await batches.put(passage(0))
    await batches.take()
    await batches.put(passage(1))
    second = asyncio.create_task(batches.take())
    await asyncio.sleep(0)
    await batches.put(passage(2))
    assert not second.done()
    await batches.done()
    assert [taken.ordinal for taken in await second] == [1, 2]


async def test_a_full_batch_waits_for_nothing_and_holds_back_what_comes_after():
    batches = Batches(MAX_TOKENS)
    await batches.put(passage(0))
    await batches.take()
    for ordinal in range(1, 7):
        await batches.put(passage(ordinal))
    seventh = asyncio.create_task(batches.put(passage(7)))
    await asyncio.sleep(0)
    assert not seventh.done()
    assert [taken.ordinal for taken in await batches.take()] == [1, 2, 3, 4, 5]
    await seventh


async def test_the_rest_goes_when_nothing_more_will_come():
    batches = Batches(MAX_TOKENS)
    await batches.put(passage(0))
    await batches.take()
    await batches.put(passage(1))
    await batches.end()
    assert [taken.ordinal for taken in await batches.take()] == [1]
    assert await batches.take() == []


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 254), st.integers(1, 4_096)), max_size=150), st.integers(1, 3), st.data())
def test_batches_are_bounded_and_nothing_is_lost_or_turned_round(sizes, takers, data):
    taken: list[list[Passage]] = []

    async def take(batches: Batches) -> None:
        while batch := await batches.take():
            taken.append(batch)
            for _ in range(data.draw(st.integers(0, 3))):
                await asyncio.sleep(0)
            await batches.done()

    async def all_of_it() -> None:
        batches = Batches(MAX_TOKENS)
        taking = [asyncio.create_task(take(batches)) for _ in range(takers)]
        for ordinal, (tokens, chars) in enumerate(sizes):
            await batches.put(passage(ordinal, tokens, "é" * chars))
        await batches.end()
        await asyncio.gather(*taking)

    asyncio.run(all_of_it())
    assert [one.ordinal for batch in taken for one in batch] == list(range(len(sizes)))
    for batch in taken:
        assert len(batch) == 1 or sum(one.token_count for one in batch) <= MAX_TOKENS
        assert len(batch) <= 64
        assert sum(len(one.text.encode()) for one in batch) < 2**20


def test_two_at_work_count_once_and_a_stretch_counts_while_it_lasts():
    now = [0.0]
    clock = BusyClock(lambda: now[0])
    with clock.running():
        now[0] = 2.0
        with clock.running():
            now[0] = 3.0
        assert clock.seconds == 3.0
    now[0] = 10.0
    clock.start()
    now[0] = 11.0
    assert (clock.seconds, clock.stretches) == (4.0, 2)


def test_a_clock_stops_when_the_work_fails():
    clock = BusyClock(lambda: 0.0)
    with pytest.raises(LookupError), clock.running():
        raise LookupError
    clock.start()
    assert clock.stretches == 2


def test_a_shift_is_at_work_while_pieces_are_open():
    now = [0.0]
    clock = BusyClock(lambda: now[0])
    shift = Shift(clock)
    shift.end_one()
    shift.begin_one()
    shift.begin_one()
    now[0] = 1.0
    shift.end_one()
    now[0] = 2.0
    shift.end_one()
    now[0] = 5.0
    assert clock.seconds == 2.0
    shift.begin_one()
    now[0] = 6.0
    shift.close()
    shift.close()
    now[0] = 9.0
    assert clock.seconds == 3.0


def test_the_seconds_are_a_counter_with_the_stage_as_its_label():
    registry = CollectorRegistry()
    clock = BusyClock(iter([1.0, 3.5]).__next__)
    registry.register(BusySeconds("stage_busy_seconds", "Seconds.", "stage", {"embed": clock}))
    with clock.running():
        pass
    assert 'stage_busy_seconds_total{stage="embed"} 2.5' in generate_latest(registry).decode()


@pytest.mark.parametrize(
    ("progress", "page_split", "is_split", "expected"),
    [
        (Progress(), 0, False, None),
        (Progress(3, 10, 9), 3, False, None),
        (Progress(5, 10, 20, 10), 5, False, 30.0),
        (Progress(10, 10, 40, 40), 10, True, 0.0),
        (Progress(0, 0, 40, 10), 0, False, None),
        (Progress(0, 0, 40, 10), 0, True, 30.0),
    ],
    ids=["nothing yet", "nothing indexed", "pages", "all", "no pages, not all read", "no pages, all read"],
)
def test_the_time_left_is_told_from_what_is_done(progress, page_split, is_split, expected):
    assert seconds_left(progress, page_split, 10.0, is_split=is_split) == expected


async def test_a_taker_that_is_called_off_leaves_the_line_as_it_is():
    batches = Batches(MAX_TOKENS)
    waiting = asyncio.create_task(batches.take())
    await asyncio.sleep(0)
    waiting.cancel()
    await until(waiting.done)
    await batches.put(passage(0))
    assert len(await batches.take()) == 1
