"""Keeps blobs in a folder, or behind any URL that fsspec knows."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from rag.runtime.errors import NotFound, Unavailable


class FsspecBlobs:
    """A `BlobStore`.

    Args:
        url: A folder, or an fsspec URL such as `s3://bucket/prefix`.
        work_dir: A local folder for drafts of remote blobs and for copies of them.
    """

    def __init__(self, url: str, work_dir: Path) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(url)
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

    async def remove(self, name: str) -> None:
        """Remove a blob."""
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
            if not self._is_local:
                self._fs.put_file(str(self._path), self._target)
                return
            target = Path(self._target)
            target.parent.mkdir(parents=True, exist_ok=True)
            self._path.replace(target)
            # The names are durable only when their folders are.
            for folder in (target.parent, target.parent.parent):
                _sync_folder(folder)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _reaching_blobs() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable("The store of uploads does not work; try again later.", "BLOBS_UNAVAILABLE") from error


def _missing() -> NotFound:
    return NotFound("The uploaded file is gone.", "UPLOAD_MISSING")
