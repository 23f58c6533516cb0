"""Keeps blobs in a folder, or behind any URL that fsspec knows."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from rag.backup import REMOVALS_PAUSED
from rag.durable import sync
from rag.ids import check_id
from rag.runtime import failpoints
from rag.runtime.errors import FailedPrecondition, InvalidInput, NotFound, Unavailable
from services.ingestor.reconciling import StoredUpload


class FsspecBlobs:
    """A `BlobStore`, and an `Uploads` that can be swept.

    Args:
        url: A folder, or an fsspec URL such as `s3://bucket/prefix`.
        work_dir: A local folder for drafts of remote blobs and for copies of them.
        paused: Whether removals must wait for a backup. It is asked when their reason is there already, such as a job's end.
    """

    def __init__(self, url: str, work_dir: Path, paused: Callable[[], Awaitable[bool]] | None = None) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(url)
        self._paused = paused
        self._is_local = isinstance(self._fs, LocalFileSystem)
        # A rename is atomic within one file system only.
        self._work_dir = Path(self._root) / ".drafts" if self._is_local else work_dir

    @asynccontextmanager
    async def draft(self, name: str) -> AsyncIterator[_Draft]:
        """Begin a blob in a temporary file of this machine."""
        draft = await asyncio.to_thread(self._open_draft, name)
        try:
            yield draft
        finally:
            await asyncio.shield(asyncio.to_thread(draft.discard))

    @asynccontextmanager
    async def local(self, name: str) -> AsyncIterator[Path]:
        """The blob itself when it lies in a folder, else a copy that lives as long as the block."""
        if self._is_local:
            path = Path(self._path(name))
            if not await asyncio.to_thread(path.exists):
                raise _missing()
            yield path
            return
        with tempfile.TemporaryDirectory(dir=await asyncio.to_thread(self._made_work_dir)) as folder:
            path = Path(folder) / "blob"
            await asyncio.to_thread(self._download, name, path)
            yield path

    async def stored(self, page: int) -> AsyncGenerator[Sequence[StoredUpload], None]:
        """All blobs with a name of ours, so many at once."""
        for folder in await asyncio.to_thread(self._listed, self._root, "directory"):
            names = await asyncio.to_thread(self._listed, self._path(folder), "file")
            for start in range(0, len(names), page):
                part = [f"{folder}/{name}" for name in names[start : start + page]]
                yield await asyncio.to_thread(self._aged, part)

    async def sweep_drafts(self, older_than_s: float) -> int:
        """Remove drafts and copies that nobody has touched for so long; return how many."""
        return await asyncio.to_thread(self._sweep_drafts, older_than_s)

    async def exists(self, name: str) -> bool:
        """Whether there is such a blob."""
        return await asyncio.to_thread(self._exists, name)

    async def remove(self, name: str) -> None:
        """Remove a blob; FailedPrecondition REMOVALS_PAUSED while a backup may need it."""
        if self._paused is not None and await self._paused():
            raise FailedPrecondition("A backup is being taken; uploads are removed after it.", REMOVALS_PAUSED)
        await asyncio.to_thread(self._remove, name)

    def _open_draft(self, name: str) -> _Draft:
        with _reaching_blobs():
            handle, path = tempfile.mkstemp(dir=self._made_work_dir())
            return _Draft(os.fdopen(handle, "wb"), Path(path), self._fs, self._path(name), is_local=self._is_local)

    def _download(self, name: str, path: Path) -> None:
        with _reaching_blobs():
            try:
                self._fs.get_file(self._path(name), str(path))
            except FileNotFoundError as error:
                raise _missing() from error

    def _listed(self, folder: str, kind: str) -> list[str]:
        """The names in a folder that can be a tenant's or a job's."""
        with _reaching_blobs():
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(folder, detail=True)
            except FileNotFoundError:
                return []
        names = (str(entry["name"]).rstrip("/").rpartition("/")[2] for entry in found if entry["type"] == kind)
        return [name for name in names if _is_id(name)]

    def _aged(self, names: Sequence[str]) -> list[StoredUpload]:
        aged = []
        with _reaching_blobs():
            for name in names:
                try:
                    written = self._fs.modified(self._path(name)).timestamp()
                except FileNotFoundError:  # removed since it was listed
                    continue
                aged.append(StoredUpload(name, time.time() - written))
        return aged

    def _sweep_drafts(self, older_than_s: float) -> int:
        swept = 0
        with _reaching_blobs():
            for path in self._made_work_dir().iterdir():
                if time.time() - path.stat().st_mtime > older_than_s:
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
                    swept += 1
        return swept

    def _exists(self, name: str) -> bool:
        with _reaching_blobs():
            self._fs.invalidate_cache()
            return bool(self._fs.exists(self._path(name)))

    def _remove(self, name: str) -> None:
        with _reaching_blobs():
            if self._fs.exists(self._path(name)):
                self._fs.rm_file(self._path(name))

    def _made_work_dir(self) -> Path:
        self._work_dir.mkdir(parents=True, exist_ok=True)
        return self._work_dir

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


class _Draft:
    """A blob being written to a temporary file."""

    def __init__(self, file: IO[bytes], path: Path, fs: Any, target: str, *, is_local: bool) -> None:
        self._file = file
        self._path = path
        self._fs = fs
        self._target = target
        self._is_local = is_local

    async def write(self, data: bytes) -> None:
        await asyncio.to_thread(self._write, data)

    async def commit(self) -> None:
        await asyncio.to_thread(self._commit)
        failpoints.reach("blob_committed")

    def discard(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        with _reaching_blobs():
            self._file.write(data)

    def _commit(self) -> None:
        with _reaching_blobs():
            self._file.flush()
            os.fsync(self._file.fileno())
            failpoints.reach("blob_synced")
            if not self._is_local:
                self._fs.put_file(str(self._path), self._target)
                return
            target = Path(self._target)
            target.parent.mkdir(parents=True, exist_ok=True)
            self._path.replace(target)
            # The names are durable only when their folders are.
            for folder in (target.parent, target.parent.parent):
                sync(folder)


@contextmanager
def _reaching_blobs() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable("The store of uploads does not work; try again later.", "BLOBS_UNAVAILABLE") from error


def _is_id(name: str) -> bool:
    try:
        check_id(name, "name")
    except InvalidInput:
        return False
    return True


def _missing() -> NotFound:
    return NotFound("The uploaded file is gone.", "UPLOAD_MISSING")
