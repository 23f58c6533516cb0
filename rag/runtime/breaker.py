"""A circuit breaker: who failed several times in a row is left alone for a while, and then tried by one call.

It wraps nothing, so it fits calls, streams and whatever else begins, answers and ends: each is an Attempt that its caller reports on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from enum import IntEnum

from prometheus_client import Gauge

_STATE = Gauge(
    "rag_breaker_state", "Who may be asked: 0 closed (yes), 1 half-open (one call tries), 2 open (no).", ("name",)
)


class State(IntEnum):
    """Who may be asked."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Opens after failures in a row; after a pause one call at a time tries, and closes it or opens it again.

    Args:
        name: Of what it guards, as the metric `rag_breaker_state` names it.
        failures: In a row, until it opens.
        pause_s: How long it stays open, in seconds.
        slow_s: How long a first sign of life may take before it counts as a failure, in seconds; None for ever.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        name: str,
        failures: int = 5,
        pause_s: float = 60.0,
        slow_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.slow_s = math.inf if slow_s is None else slow_s
        self._most_failures = failures
        self._pause_s = pause_s
        self._clock = clock
        self._failures = 0
        self._open_until: float | None = None  # None while it is closed
        self._probe: Attempt | None = None
        self._era = 0
        _STATE.labels(name).set_function(lambda: float(self.state))

    @property
    def state(self) -> State:
        """Who may be asked now."""
        if self._open_until is None:
            return State.CLOSED
        return State.OPEN if self._clock() < self._open_until else State.HALF_OPEN

    def enter(self) -> Attempt | None:
        """Begin an attempt; None when there may be none now. Who gets one must end it."""
        state = self.state
        if state is State.OPEN or self._probe:
            return None
        attempt = Attempt(self, self._clock(), self._era)
        if state is State.HALF_OPEN:
            self._probe = attempt
        return attempt

    def _answered(self, attempt: Attempt) -> bool:
        """Take the first sign of life; return whether it came in time."""
        in_time = self._clock() - attempt.began <= self.slow_s
        if not in_time:
            self._end(attempt, failed=True)
        elif attempt is self._probe:
            # Closed on probation: the end of a long answer is not waited for, and the next failure opens it again.
            self._close(self._most_failures - 1)
            attempt.era = self._era
        return in_time

    def _end(self, attempt: Attempt, *, failed: bool | None) -> None:
        """Take how an attempt ended; None when that says nothing of who was asked."""
        if attempt is self._probe:
            self._probe = None
            if failed is False:
                self._close(0)
        elif attempt.era != self._era:
            return  # It began before the last change, of which it knows nothing.
        elif failed is False:
            self._failures = 0
        if failed:
            self._failures += 1
            if self._failures >= self._most_failures:
                self._open_until = self._clock() + self._pause_s
                self._era += 1

    def _close(self, failures: int) -> None:
        self._open_until, self._probe, self._failures = None, None, failures
        self._era += 1


class Attempt:
    """One attempt under way: `succeeded`, `failed` or `abandoned` ends it, and what is told after that changes nothing.

    Args:
        breaker: That let it through.
        began: On the breaker's clock.
        era: How often the breaker had changed when it began.
    """

    def __init__(self, breaker: Breaker, began: float, era: int) -> None:
        self._breaker = breaker
        self.began = began
        self.era = era
        self._ended = self._has_answered = False

    def answered(self) -> None:
        """Tell of a sign of life; the first counts: one that took too long is a failure, whatever follows."""
        if not self._ended and not self._has_answered:
            self._has_answered = True
            self._ended = not self._breaker._answered(self)  # noqa: SLF001 - the two are one

    def succeeded(self) -> None:
        """Tell that all went well."""
        self._end(failed=False)

    def failed(self) -> None:
        """Tell that it failed."""
        self._end(failed=True)

    def abandoned(self) -> None:
        """Tell that it ended for a reason that says nothing of who was asked: the caller left, or the request was wrong."""
        self._end(failed=None)

    def _end(self, *, failed: bool | None) -> None:
        if not self._ended:
            self._ended = True
            self._breaker._end(self, failed=failed)  # noqa: SLF001 - the two are one
