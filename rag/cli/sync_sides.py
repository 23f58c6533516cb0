"""The two sides of a sync as they are now: the folder, and what the server has of its label."""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from rag.cli.sources import Folder, look_through
from rag.cli.sync_plan import LocalFile, Remote, document_id, label_prefix, sizes_of
from rag.client import RagClient
from rag.metadata import MAX_TEXT
from rag.v1 import ingestor_pb2 as pb
from rag.v1 import retriever_pb2

LABEL, PATH = "sync_label", "sync_path"
_UNFINISHED = (pb.JOB_STATE_QUEUED, pb.JOB_STATE_RUNNING)
_ENDED_BADLY = (pb.JOB_STATE_FAILED, pb.JOB_STATE_DEAD)


@dataclass(frozen=True, slots=True)
class Server:
    """What the server has of a label."""

    remote: tuple[Remote, ...]
    under_way: dict[str, str]
    """The newest unfinished job of each document that has one."""


@dataclass(frozen=True, slots=True)
class Local:
    """What the folder has. Paths below it are text with `/`, whatever bytes the file system uses."""

    files: dict[str, Path]
    unreadable: dict[str, str]
    """What cannot be synced, and why."""
    empty: frozenset[str]
    """Empty files: often one that is just being written, so what was there before stays."""
    outside: tuple[str, ...]
    """Links out of the folder: left out."""

    def is_unsure(self, path: str) -> bool:
        """Tell whether a path that is not among the files may be in the folder all the same."""
        return path in self.empty or any(path == bad or path.startswith(f"{bad}/") for bad in self.unreadable)


async def ask_server(rag: RagClient, label: str) -> Server:
    """Return what the server has of a label, jobs without a document included."""
    prefix = label_prefix(label)
    under_way: dict[str, str] = {}
    remote: dict[str, Remote] = {}
    # Jobs first: one that ends meanwhile is then seen as a document, or as both.
    for state in (*_UNFINISHED, *_ENDED_BADLY):
        async with aclosing(rag.jobs(state)) as jobs:
            async for job in jobs:
                if not job.document_id.startswith(prefix):
                    continue
                remote.setdefault(job.document_id, Remote(job.document_id, job.name, ""))
                if state in _UNFINISHED:
                    under_way.setdefault(job.document_id, job.id)
    async with aclosing(rag.documents()) as documents:
        async for document in documents:
            if document.id.startswith(prefix) and document.metadata[LABEL].text == label:
                remote[document.id] = _remote(document)
    return Server(tuple(remote.values()), under_way)


def _remote(document: retriever_pb2.Document) -> Remote:
    path = document.metadata[PATH].text if PATH in document.metadata else document.name
    return Remote(document.id, path, document.content_hash, document.size_bytes)


def look_at_folder(root: Path) -> Local:
    """List a folder for a sync."""
    folder = look_through(root) if root.is_dir() else Folder(())
    files = {_text(root, path): path for path in folder.files}
    unreadable = {_text(root, path): "It cannot be listed, or is a link to nothing." for path in folder.unreadable}
    for path in [path for path in files if len(path) > MAX_TEXT]:
        del files[path]
        unreadable[path] = f"Its path is longer than {MAX_TEXT} characters."
    empty = frozenset(path for path, file in files.items() if _is_empty(file))
    filled = {path: file for path, file in files.items() if path not in empty}
    return Local(filled, unreadable, empty, tuple(_text(root, path) for path in folder.outside))


async def hash_files(label: str, local: Local, server: Server) -> list[LocalFile]:
    """Return the files with their hashes, where these can make a difference."""
    sizes = sizes_of(server.remote)
    return [
        LocalFile(path, await asyncio.to_thread(_hash_if_like, file, sizes.get(document_id(label, path))))
        for path, file in local.files.items()
    ]


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file's content in hex, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_if_like(path: Path, size: int | None) -> str:
    try:
        return hash_of(path) if path.stat().st_size == size else ""
    except OSError:
        return ""  # sending it will say why


def _is_empty(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except OSError:
        return False  # sending it will say why


def _text(root: Path, path: Path) -> str:
    return os.fsencode(path.relative_to(root).as_posix()).decode(errors="backslashreplace")
