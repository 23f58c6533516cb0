"""The keys of whoever signs tokens, in a file that somebody may replace."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rag.runtime.errors import Unavailable

_MAX_BYTES = 256 * 1024


class FileKeySource:
    """Reads the file each time.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> bytes:
        """Return the set of keys as it is now."""
        try:
            return await asyncio.to_thread(self._read)
        except OSError as error:
            raise Unavailable("The file of signing keys cannot be read.", "KEYS_UNAVAILABLE") from error

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            found = file.read(_MAX_BYTES + 1)
        if len(found) > _MAX_BYTES:
            raise Unavailable("The file of signing keys is too large to be one.", "KEYS_UNAVAILABLE")
        return found
