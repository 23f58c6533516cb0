"""Snapshots: copies of the embedded index's file for backups, made while nothing is written to it."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rag.ids import check_id
from rag.runtime.errors import FailedPrecondition

FOLDER = "snapshots"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy: its path inside the data folder, its size in bytes, its SHA-256 in hex."""

    path: str
    size_bytes: int
    sha256: str


class Copyable(Protocol):
    """The file of an index."""

    async def snapshot(self, target: Path) -> None:
        """Make a whole, checked copy that holds every write that was acknowledged before the call.

        Raises Unavailable SNAPSHOT_FAILED.
        """


class Snapshots:
    """Makes snapshots in the data folder.

    Args:
        index: What is copied; None when it is not in a file of ours.
        data_dir: The data folder.
    """

    def __init__(self, index: Copyable | None, data_dir: Path) -> None:
        self._index = index
        self._data_dir = data_dir
        self._making = asyncio.Lock()

    async def make(self, name: str) -> Snapshot:
        """Make a snapshot, in place of one of that name. Whoever asked for it removes it.

        Raises:
            InvalidInput: BAD_ID.
            FailedPrecondition: INDEX_ON_SERVER.
            Unavailable: SNAPSHOT_FAILED.
        """
        check_id(name, "name")
        if self._index is None:
            message = "The index is on a Milvus server, which has backups of its own."
            raise FailedPrecondition(message, "INDEX_ON_SERVER")
        path = Path(FOLDER) / name
        target = self._data_dir / path
        async with self._making:
            await self._index.snapshot(target)
            size, digest = await asyncio.to_thread(_measured, target)
        return Snapshot(str(path), size, digest)


def _measured(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return path.stat().st_size, digest
