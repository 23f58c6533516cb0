"""For how long something had work: seconds in which at least one was at it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class BusyClock:
    """Runs while anybody is at work. Two at once count once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at_work = 0
        self._began = 0.0
        self._spent_s = 0.0
        self.stretches = 0
        """How often it began to run."""

    @property
    def seconds(self) -> float:
        """The seconds so far, a stretch that still goes on included."""
        return self._spent_s + (self._clock() - self._began if self._at_work else 0.0)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Be at work for the length of a block."""
        self.start()
        try:
            yield
        finally:
            self.stop()

    def start(self) -> None:
        """Be at work until `stop`."""
        if not self._at_work:
            self._began = self._clock()
            self.stretches += 1
        self._at_work += 1

    def stop(self) -> None:
        """Rest."""
        self._at_work -= 1
        if not self._at_work:
            self._spent_s += self._clock() - self._began


class Shift:
    """One worker's time at a clock, for work that begins and ends in different places: at work while pieces are open."""

    def __init__(self, clock: BusyClock) -> None:
        self._clock = clock
        self._open = 0

    def begin_one(self) -> None:
        """Open one more piece of work."""
        if not self._open:
            self._clock.start()
        self._open += 1

    def end_one(self) -> None:
        """End one of them."""
        if self._open:
            self._open -= 1
            if not self._open:
                self._clock.stop()

    def close(self) -> None:
        """End all of them."""
        if self._open:
            self._open = 0
            self._clock.stop()


class BusySeconds(Collector):
    """A counter with the seconds of several clocks, read when it is asked for: long stretches do not show up at their end only."""

    def __init__(self, name: str, documentation: str, label: str, clocks: Mapping[str, BusyClock]) -> None:
        self._name = name
        self._documentation = documentation
        self._label = label
        self._clocks = clocks

    def collect(self) -> Iterable[CounterMetricFamily]:
        """One sample per clock."""
        family = CounterMetricFamily(self._name, self._documentation, labels=[self._label])
        for value, clock in self._clocks.items():
            family.add_metric([value], clock.seconds)
        yield family
