from __future__ import annotations

import asyncio
import math
import time
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.runtime.backoff import asked_s, full_jitter, retry_after_s, retrying
from rag.runtime.context import CallContext, bound
from rag.runtime.errors import InvalidInput, Overloaded, RagError, Unavailable

AWAY = Unavailable("Away.", "AWAY")
BUSY = Overloaded("Busy.", "BUSY", 7.0)


class Trials:
    """An operation that fails so often, and a clockless pause."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.tried = 0
        self.pauses: list[float] = []

    async def operation(self) -> str:
        self.tried += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def run(self, **more: Any) -> str:
        given = {"random_unit": lambda: 1.0, "pause": self.pause} | more
        return await retrying(self.operation, lambda e: isinstance(e, Unavailable | Overloaded), 0.5, 4.0, **given)


@given(attempt=st.integers(1, 10_000), unit=st.floats(0, 1, exclude_max=True))
def test_a_pause_lies_between_nothing_and_a_window_that_doubles_up_to_a_bound(attempt, unit):
    window = 0.5 * 2 ** min(attempt - 1, 3)
    assert full_jitter(attempt, 0.5, 4.0, lambda: unit) == pytest.approx(unit * window)


async def test_what_works_at_once_is_not_repeated():
    trials = Trials()
    assert await trials.run() == "done"
    assert (trials.tried, trials.pauses) == (1, [])


async def test_passing_errors_are_tried_again_with_growing_pauses():
    trials = Trials(*[AWAY] * 6)
    assert await trials.run() == "done"
    assert trials.pauses == [0.5, 1, 2, 4, 4, 4]


async def test_other_errors_are_raised_as_they_are():
    wrong = InvalidInput("Wrong.", "WRONG")
    trials = Trials(AWAY, wrong)
    with pytest.raises(InvalidInput) as error:
        await trials.run()
    assert error.value is wrong
    assert trials.tried == 2


async def test_the_last_error_is_raised_after_so_many_attempts():
    trials = Trials(AWAY, AWAY, BUSY)
    with pytest.raises(Overloaded) as error:
        await trials.run(attempts=3)
    assert error.value is BUSY
    assert (trials.tried, len(trials.pauses)) == (3, 2)


async def test_an_error_gets_the_time_that_it_asks_for_and_jitter_on_top():
    trials = Trials(BUSY, AWAY)
    await trials.run()
    assert trials.pauses == [7.5, 1.0]
    assert (asked_s(BUSY), asked_s(AWAY), asked_s(None)) == (7.0, 0.0, 0.0)


async def test_each_pause_is_told_before_it_begins():
    trials, told = Trials(AWAY, BUSY), []
    await trials.run(before_pause=lambda error, pause_s: told.append((error, pause_s, len(trials.pauses))))
    assert told == [(AWAY, 0.5, 0), (BUSY, 8.0, 1)]


@pytest.mark.parametrize("left_s", [3.0, -1.0], ids=["too short for the pause", "over"])
async def test_no_pause_goes_beyond_the_deadline_of_the_call(left_s):
    trials = Trials(BUSY)
    with bound(CallContext("r", "t", time.monotonic() + left_s)), pytest.raises(RagError) as error:
        await trials.run()
    assert error.value is BUSY
    assert trials.pauses == []


async def test_a_cancel_ends_it_in_the_operation_and_in_the_pause():
    hanging = asyncio.Event()
    trials = Trials(AWAY)
    for work in (
        retrying(hanging.wait, lambda _: True, 0.5, 4.0),
        trials.run(pause=lambda _: hanging.wait()),
    ):
        task = asyncio.create_task(work)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
    assert trials.tried == 1


def seconds(**headers: str) -> float:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return retry_after_s(named, default_s=5.0, most_s=60.0, now=lambda: 1_000_000_000.0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", 7), ("0", 0), ("0.25", 0.25), (" 3 ", 3), ("100000", 60), ("", 5), ("soon", 5), ("nan", 5), ("inf", 5), ("-3", 5), ("1e3", 60),
        ("1_0", 5), ("9" * 400, 60), (formatdate(1_000_000_020, usegmt=True), 20), (formatdate(999_999_000, usegmt=True), 0),
        (formatdate(1_100_000_000, usegmt=True), 60), ("Fri, 99 Sep 2001 01:46:40 GMT", 5),
    ],
)  # fmt: skip
def test_seconds_and_dates_are_understood_and_nonsense_is_not(value, expected):
    assert seconds(retry_after=value) == expected


def test_milliseconds_come_first_and_nonsense_in_them_is_passed_over():
    assert seconds(retry_after_ms="1500", retry_after="9") == 1.5
    assert seconds(retry_after_ms="-1", retry_after="9") == 9
    assert seconds() == 5


@given(value=st.text(), milliseconds=st.text())
def test_any_header_gives_a_number_in_bounds(value, milliseconds):
    found = seconds(retry_after=value, retry_after_ms=milliseconds)
    assert math.isfinite(found)
    assert 0 <= found <= 60
