"""Taking a backup while the services run.

First the state of Redis, then the index: whatever is live in the catalogue was written to the index before, and removals are
paused. So the index holds all that the catalogue names; what it holds beyond that nobody sees, and it is erased after a restore.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from redis.asyncio import Redis

from rag.backup.dumping import dump
from rag.backup.files import Report, check_index, entry_of, link_or_copy, move, sums, sync_tree
from rag.backup.manifest import CATALOGUE, INDEX, NAME, PEPPER, Manifest, damaged
from rag.backup.manifest import dump as as_json
from rag.backup.pause import paused
from rag.client.sending import repeated
from rag.durable import sync
from rag.runtime.errors import AlreadyExists, InvalidInput

_SNAPSHOT = "backup"
_UPLOAD = re.compile(r"[A-Za-z0-9_-]{1,64}/[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class About:
    """What a manifest says beside the files."""

    created_at: str
    ragmesh: str
    redis: str
    documents: Mapping[str, int] = field(default_factory=dict)


class Index(Protocol):
    """The retriever."""

    async def snapshot(self, name: str) -> tuple[str, str]:
        """Have the index copied; return the copy's path inside the data folder and its SHA-256."""


async def take(
    folder: Path,
    data_dir: Path,
    redis: Redis,
    index: Index,
    report: Report,
    *,
    now: Callable[[], float] = time.time,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Manifest:
    """Make the backup `folder`, which appears whole or not at all.

    Raises:
        AlreadyExists: BACKUP_EXISTS.
        Conflict: BACKUP_RUNNING.
        Unavailable: a part of the system is away, or removals went on meanwhile.
        OSError: a file cannot be read or written.
    """
    _check_target(folder, data_dir)
    partial = folder.with_name(f"{folder.name}.partial")
    created_at = datetime.fromtimestamp(now(), UTC).isoformat(timespec="seconds")
    about = About(created_at, version("ragmesh"), str((await redis.info("server"))["redis_version"]))
    async with paused(redis, pause) as held:
        await asyncio.to_thread(_prepare, partial)
        try:
            about = replace(about, documents=await _documents(redis))
            report("redis", 0, 0)
            await dump(redis, partial / CATALOGUE, pause)
            report("index", 0, 0)
            path, digest = await repeated(lambda: index.snapshot(_SNAPSHOT), pause)
            await asyncio.to_thread(move, data_dir / path, partial / INDEX)
            report("uploads", 0, 0)
            await asyncio.to_thread(_keep_uploads, data_dir / "blobs", partial / "blobs")
            await asyncio.to_thread(_keep_pepper, data_dir / PEPPER, partial / PEPPER)
            await held.check()
            await held.lift()
            manifest = await asyncio.to_thread(_described, partial, about, digest, report)
            await asyncio.to_thread(_publish, partial, folder, manifest)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
            raise
    return manifest


def _check_target(folder: Path, data_dir: Path) -> None:
    if folder.resolve().is_relative_to(data_dir.resolve()):
        raise InvalidInput("A backup inside the data folder would be lost with it.", "BACKUP_INSIDE_DATA")
    if folder.exists():
        raise AlreadyExists(f"{folder} exists already; a backup is never written over.", "BACKUP_EXISTS")


def _prepare(partial: Path) -> None:
    # Nobody else takes a backup now: what lies there is the rest of one that died.
    shutil.rmtree(partial, ignore_errors=True)
    for path in (CATALOGUE, INDEX):
        (partial / path).parent.mkdir(parents=True)
    partial.chmod(0o700)  # passwords of documents may wait in the queue


async def _documents(redis: Redis) -> Mapping[str, int]:
    keys = [bytes(key) async for key in redis.scan_iter("rag:*:documents", 1_000)]
    names = sorted(key.decode().split(":")[1] for key in set(keys) if key.count(b":") == 2)
    return {name: int(await redis.zcard(f"rag:{name}:documents")) for name in names}


def _keep_uploads(blobs: Path, target: Path) -> None:
    """Keep the uploads of all jobs; drafts, which belong to no job yet, are hidden files."""
    for path in blobs.glob("*/*"):
        name = "/".join(path.parts[-2:])
        if path.is_file() and _UPLOAD.fullmatch(name):
            link_or_copy(path, target / name)


def _keep_pepper(pepper: Path, target: Path) -> None:
    # Without it no API key of the saved Redis opens anything.
    if pepper.is_file():
        link_or_copy(pepper, target)


def _described(partial: Path, about: About, digest: str, report: Report) -> Manifest:
    paths = sorted(path.relative_to(partial).as_posix() for path in partial.rglob("*") if path.is_file())
    count = sums(report, "hashes", sum((partial / path).stat().st_size for path in paths))
    entries = [entry_of(partial, path, count) for path in paths]
    if next(entry.sha256 for entry in entries if entry.path == INDEX) != digest:
        raise damaged([f"{INDEX} is not what the retriever wrote"])
    check_index(partial / INDEX)
    return Manifest(about.created_at, about.ragmesh, about.redis, about.documents, entries)


def _publish(partial: Path, folder: Path, manifest: Manifest) -> None:
    sync_tree(partial)
    (partial / NAME).write_text(as_json(manifest))
    sync(partial / NAME)
    sync(partial)
    partial.rename(folder)
    sync(folder.parent)
