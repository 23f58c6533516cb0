from __future__ import annotations

import asyncio

import pytest

from rag.runtime.tasks import beside, cancel_all, together, unbroken


class Deaf:
    """A task that loses its first cancels, as some libraries do."""

    def __init__(self, lost: int = 1) -> None:
        self.left = lost
        self.running = asyncio.Event()

    async def run(self) -> None:
        self.running.set()
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if self.left == 0:
                    raise
                self.left -= 1


async def fails() -> None:
    raise ValueError("no")


async def gives(value: int) -> int:
    return value


async def test_a_task_that_loses_a_cancel_is_asked_again() -> None:
    deaf = Deaf()
    task = asyncio.create_task(deaf.run())
    await deaf.running.wait()
    await cancel_all([task])
    assert task.cancelled()


async def test_a_cancel_of_the_caller_waits_until_all_have_ended() -> None:
    deaf = Deaf()
    task = asyncio.create_task(deaf.run())
    await deaf.running.wait()
    caller = asyncio.create_task(cancel_all([task]))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert task.cancelled()


async def test_results_come_in_order() -> None:
    assert await together(gives(1), gives(2), gives(3)) == [1, 2, 3]


async def test_the_first_failure_ends_the_others_and_is_raised_as_it_is() -> None:
    deaf = Deaf()
    with pytest.raises(ValueError, match="no"):
        await together(deaf.run(), fails())
    assert deaf.left == 0


async def test_a_cancel_ends_all_and_a_timeout_around_stays_a_timeout() -> None:
    one, other = Deaf(), Deaf(0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await together(one.run(), other.run())
    assert one.left == 0


async def test_the_side_ends_with_the_work() -> None:
    deaf = Deaf(0)
    assert await beside(gives(7), deaf.run()) == 7
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def test_a_side_that_fails_ends_the_work() -> None:
    deaf = Deaf()
    with pytest.raises(ValueError, match="no"):
        await beside(deaf.run(), fails())
    assert deaf.left == 0


async def test_what_was_begun_is_finished_when_its_caller_leaves() -> None:
    entered, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        entered.set()
        await go_on.wait()
        done.set()

    caller = asyncio.create_task(unbroken(work()))
    await entered.wait()
    caller.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done.is_set()
