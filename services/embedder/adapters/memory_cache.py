"""Vectors in the memory of the process."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence

import numpy as np

from rag.vectors import Vectors, pack

ENTRY_BYTES = 500
"""What an entry takes besides its numbers: the key, three objects, the links of the table. Measured, rounded up."""
_SWEEPS_PER_AGE = 5


class MemoryCache:
    """A cache bounded in bytes and in age that forgets what was not asked for longest.

    The bound in age is for vectors that another process was told to forget: nobody tells this one.

    Args:
        limit_bytes: How much memory it may take, its own tables included.
        most_age_s: How long a vector is answered after it was put, in seconds.
        clock: Monotonic seconds.
    """

    def __init__(self, limit_bytes: int, most_age_s: float = 45.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_bytes = limit_bytes
        self._most_age_s = most_age_s
        self._clock = clock
        # Bytes, not arrays: a row of a batch would keep the whole batch alive.
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self.size_bytes = 0

    def get(self, keys: Sequence[str], dimension: int) -> Sequence[Vectors | None]:
        """Return read-only vectors; asking for one makes it the last to be forgotten, and no younger."""
        oldest = self._clock() - self._most_age_s
        return [self._get(key, dimension, oldest) for key in keys]

    def put(self, vectors: Mapping[str, Vectors]) -> None:
        """Keep the vectors, and forget others until all fit."""
        now = self._clock()
        for key, vector in vectors.items():
            self._forget(key)
            value = pack(vector)
            self._entries[key] = value, now
            self.size_bytes += len(value) + ENTRY_BYTES
        while self.size_bytes > self._limit_bytes:
            self._forget(next(iter(self._entries)))

    def forget(self, keys: Sequence[str]) -> None:
        """Drop the vectors of these keys."""
        for key in keys:
            self._forget(key)

    def sweep(self) -> None:
        """Drop what is too old to be answered."""
        oldest = self._clock() - self._most_age_s
        self.forget([key for key, (_, born) in self._entries.items() if born < oldest])

    async def sweep_on(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Sweep again and again, until cancelled."""
        while True:
            await pause(self._most_age_s / _SWEEPS_PER_AGE)
            self.sweep()

    def _get(self, key: str, dimension: int, oldest: float) -> Vectors | None:
        value, born = self._entries.get(key, (b"", 0.0))
        if len(value) != 4 * dimension or born < oldest:
            return None
        self._entries.move_to_end(key)
        return np.frombuffer(value, dtype="<f4")

    def _forget(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size_bytes -= len(entry[0]) + ENTRY_BYTES
