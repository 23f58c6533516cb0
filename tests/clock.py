"""A clock for tests of deadlines: it moves when everybody waits, and only then, so that nothing is late on a busy machine."""

from __future__ import annotations

import asyncio
import time

import pytest


class Clock:
    """What `time.monotonic` tells, in seconds; the loop's timers follow it."""

    def __init__(self) -> None:
        self.now = time.monotonic()


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock for code that waits for timers alone: a wait for a socket or a thread would seem to last for ever."""
    clock, selector = Clock(), asyncio.get_running_loop()._selector
    look = selector.select

    def select(timeout: float | None = None):
        events = look(0)
        if not events and timeout is not None and timeout > 0:
            clock.now += timeout
        return events

    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(selector, "select", select)
    return clock
