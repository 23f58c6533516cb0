"""Trying again: how long to wait, and until when. The one module that knows.

Over tenacity, since the library `backoff` is archived. The pauses have full jitter (each is drawn between nothing and a window that doubles), so
that those who failed together do not come back together.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from rag.runtime.context import remaining_s
from rag.runtime.errors import DeadlineExceeded, Overloaded

T = TypeVar("T")

BeforePause = Callable[[Exception, float], None]
"""Hears of the error and of the seconds that the pause after it will take."""

_MOST_DOUBLINGS = 60
_NUMBER = re.compile(r"\s*\d+(\.\d*)?(e\d+)?\s*", re.ASCII | re.IGNORECASE)


def full_jitter(attempt: int, first_s: float, most_s: float, random_unit: Callable[[], float] = random.random) -> float:
    """Return how long to pause after the failure of an attempt, in seconds.

    Args:
        attempt: Which one failed; 1 is the first.
        first_s: The window after the first; it doubles from there.
        most_s: The largest window.
        random_unit: A number in [0, 1).
    """
    return random_unit() * min(most_s, first_s * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS))


def asked_s(error: BaseException | None) -> float:
    """Return how long an error asks its caller to stay away, in seconds: 0 for all but Overloaded."""
    return error.retry_after_s if isinstance(error, Overloaded) else 0.0


async def retrying(
    operation: Callable[[], Awaitable[T]],
    is_passing: Callable[[Exception], bool],
    first_s: float,
    most_s: float,
    *,
    attempts: int | None = None,
    before_pause: BeforePause = lambda _error, _pause_s: None,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    random_unit: Callable[[], float] = random.random,
) -> T:
    """Return what the operation returns, trying it again while its errors pass by themselves.

    An Overloaded is given the time that it asks for, and the jitter on top. No pause goes beyond the deadline of the current call: its error is
    raised at once instead.

    Args:
        operation: Started anew for each attempt.
        is_passing: Tells whether a later attempt may help; also called for errors of the last one.
        first_s: See `full_jitter`.
        most_s: See `full_jitter`.
        attempts: How many there are at most, the first included; None for as many as the time allows.
        before_pause: Called before each pause, for logs and counters.
        pause: Waits so many seconds.
        random_unit: A number in [0, 1).

    Raises:
        Exception: what the last attempt raised.
    """
    patience = _Patience(first_s, most_s, attempts, random_unit)
    tries = AsyncRetrying(
        sleep=pause,
        wait=patience.wait_s,
        stop=patience.is_over,
        retry=retry_if_exception(lambda error: isinstance(error, Exception) and is_passing(error)),
        before_sleep=lambda state: _tell(state, before_pause),
        reraise=True,
    )

    async def attempt() -> T:
        return await operation()

    return await tries(attempt)


@dataclass(frozen=True, slots=True)
class _Patience:
    """How long to wait after each attempt, and after which there is no other."""

    first_s: float
    most_s: float
    attempts: int | None
    random_unit: Callable[[], float]

    def wait_s(self, state: RetryCallState) -> float:
        jitter_s = full_jitter(state.attempt_number, self.first_s, self.most_s, self.random_unit)
        return asked_s(_error(state)) + jitter_s

    def is_over(self, state: RetryCallState) -> bool:
        if self.attempts is not None and state.attempt_number >= self.attempts:
            return True
        return state.upcoming_sleep >= _time_left_s()


def _tell(state: RetryCallState, before_pause: BeforePause) -> None:
    error = _error(state)
    if isinstance(error, Exception):
        before_pause(error, state.upcoming_sleep)


def retry_after_s(
    headers: Mapping[str, str], default_s: float, most_s: float, now: Callable[[], float] = time.time
) -> float:
    """Return how long a refusal asks its client to stay away, in seconds.

    Args:
        headers: Of the answer; names in lower case, or in a mapping that does not tell cases apart.
        default_s: When there is no such header, or nonsense in it.
        most_s: What a server can ask for at most.
        now: Seconds since 1970, for Retry-After as a date.
    """
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "")
        if _NUMBER.fullmatch(value):
            return min(most_s, unit_s * float(value))
    return min(most_s, _until_date_s(headers.get("retry-after", ""), default_s, now))


def _until_date_s(value: str, default_s: float, now: Callable[[], float]) -> float:
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now())
    except (ValueError, OverflowError, OSError):
        return default_s


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _time_left_s() -> float:
    try:
        return remaining_s(math.inf)
    except DeadlineExceeded:
        return 0.0
