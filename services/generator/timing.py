"""How long an answer and its stages take."""

from __future__ import annotations

from collections.abc import Callable

from services.generator.events import Progress, Stage, StageTime


class Watch:
    """Runs from the moment the question was accepted.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._accepted = clock()
        self._running: tuple[Stage, float] | None = None
        self._stages: list[StageTime] = []
        self.first_token_ms: float | None = None

    def elapsed_ms(self) -> float:
        """Return the milliseconds since the question was accepted."""
        return (self._clock() - self._accepted) * 1_000

    def begin(self, stage: Stage, at: float | None = None) -> Progress:
        """End the running stage and begin the next, now or when its work began; who came later waited since they came."""
        began = self.elapsed_ms() if at is None else max(0.0, (at - self._accepted) * 1_000)
        self._end(began)
        self._running = stage, began
        return Progress(stage, began)

    def end(self) -> None:
        """End the running stage, when there is one."""
        self._end(self.elapsed_ms())

    def _end(self, elapsed_ms: float) -> None:
        if self._running:
            stage, began = self._running
            self._stages.append(StageTime(stage, max(0.0, elapsed_ms - began)))
            self._running = None

    def first_token(self) -> None:
        """Note that the first text leaves now."""
        self.first_token_ms = self.elapsed_ms()

    def stages(self) -> tuple[StageTime, ...]:
        """Return what the stages that ended took, in the order they began."""
        return tuple(self._stages)
