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

    def begin(self, stage: Stage) -> Progress:
        """End the running stage and begin the next."""
        self.end()
        now = self.elapsed_ms()
        self._running = stage, now
        return Progress(stage, now)

    def end(self) -> None:
        """End the running stage, when there is one."""
        if self._running:
            stage, began = self._running
            self._stages.append(StageTime(stage, self.elapsed_ms() - began))
            self._running = None

    def first_token(self) -> None:
        """Note that the first text leaves now."""
        self.first_token_ms = self.elapsed_ms()

    def stages(self) -> tuple[StageTime, ...]:
        """Return what the stages that ended took, in the order they began."""
        return tuple(self._stages)
