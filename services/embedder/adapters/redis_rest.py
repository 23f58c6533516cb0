"""Leaving a Redis alone that fails."""

from __future__ import annotations

import time
from collections.abc import Callable

from rag.runtime.logs import get_logger
from services.embedder import metrics

REST_S = 2.0
_LOG_EVERY_S = 60.0

log = get_logger(__name__)


class Rest:
    """Two seconds without a question after each failure, and one line a minute.

    So a Redis that hangs costs a call one timeout at most, and not one for each of its batches.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = float("-inf")
        self._log_after = float("-inf")

    @property
    def on(self) -> bool:
        """Whether Redis should not be asked now."""
        return self._clock() < self._until

    def failed(self, action: str, error: Exception) -> None:
        """Begin a rest.

        Args:
            action: What failed: read, write, or cooldown.
            error: How.
        """
        now = self._clock()
        metrics.CACHE_FAILURES.labels(action).inc()
        self._until = now + REST_S
        if now >= self._log_after:
            self._log_after = now + _LOG_EVERY_S
            log.warning("cache_bypassed", action=action, error=repr(error))
