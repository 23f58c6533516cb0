"""Vectors in the memory of the process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np

from rag.vectors import Vectors, pack

ENTRY_BYTES = 420
"""What an entry takes besides its numbers: the key, two objects, the links of the table. Measured, rounded up."""


class MemoryCache:
    """A cache bounded in bytes that forgets what was not asked for longest.

    Args:
        limit_bytes: How much memory it may take, its own tables included.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        # Bytes, not arrays: a row of a batch would keep the whole batch alive.
        self._entries: OrderedDict[str, bytes] = OrderedDict()
        self.size_bytes = 0

    async def get(self, keys: Sequence[str], dimension: int) -> Sequence[Vectors | None]:
        """Return read-only vectors; asking for one makes it the last to be forgotten."""
        return [self._get(key, dimension) for key in keys]

    async def put(self, vectors: Mapping[str, Vectors]) -> None:
        """Keep the vectors, and forget others until all fit."""
        for key, vector in vectors.items():
            self._forget(key)
            self._entries[key] = pack(vector)
            self.size_bytes += len(self._entries[key]) + ENTRY_BYTES
        while self.size_bytes > self._limit_bytes:
            self._forget(next(iter(self._entries)))

    def _get(self, key: str, dimension: int) -> Vectors | None:
        value = self._entries.get(key)
        if value is None or len(value) != 4 * dimension:
            return None
        self._entries.move_to_end(key)
        return np.frombuffer(value, dtype="<f4")

    def _forget(self, key: str) -> None:
        value = self._entries.pop(key, None)
        if value is not None:
            self.size_bytes -= len(value) + ENTRY_BYTES
