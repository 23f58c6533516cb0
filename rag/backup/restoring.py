"""Bringing a backup back: checked whole, built beside what is there, then put in its place."""

from __future__ import annotations

import asyncio
import fcntl
import json
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rag import own_redis
from rag.backup import UNFINISHED
from rag.backup.files import Report, check_files, entry_of, sums, sync_tree
from rag.backup.manifest import CATALOGUE, Manifest, damaged, load
from rag.durable import sync
from rag.runtime.errors import FailedPrecondition

PARTS = ("redis", "milvus", "blobs", "drafts", "snapshots", "gateway")
"""What is replaced. The models of a data folder are made anew when they are missing, and stay."""
_STAGING = ".restoring"
_LOCKS = {
    "owner.lock": "a retriever has its index open",
    "engine.lock": "its index engine runs on for RETRIEVER_ENGINE_LINGER_S seconds after its retriever",
}


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back, how many documents each tenant has, and where the data from before lies now, if there was any."""

    manifest: Manifest
    documents: Mapping[str, int]
    aside: Path | None


def verify(folder: Path, report: Report) -> Manifest:
    """Return the manifest of a backup that is whole.

    Raises:
        FailedPrecondition: NO_BACKUP, BACKUP_FORMAT, BACKUP_DAMAGED.
    """
    manifest = load(folder)
    check_files(folder, manifest, report)
    return manifest


async def restore(
    folder: Path, data_dir: Path, report: Report, *, force: bool = False, now: Callable[[], float] = time.time
) -> Restored:
    """Make a data folder hold what a backup holds.

    Args:
        folder: The backup.
        data_dir: The data folder. No service may be using it.
        report: Told how far it is.
        force: Move aside what is there.
        now: Seconds since 1970.

    Raises:
        FailedPrecondition: as `verify`; DATA_IN_USE, DATA_NOT_EMPTY, and what the saved state of Redis is refused with.
        OSError: a file cannot be read or written.
    """
    manifest = await asyncio.to_thread(verify, folder, report)
    with _taken(data_dir):
        unfinished = data_dir / UNFINISHED
        if _holds_data(data_dir) and not (force or unfinished.exists()):
            message = f"{data_dir} holds data already. With --force it is moved aside, not deleted."
            raise FailedPrecondition(message, "DATA_NOT_EMPTY")
        staging = data_dir / _STAGING
        try:
            await asyncio.to_thread(_copy, folder, staging, manifest, report)
            report("redis", 0, 0)
            documents = await _load_redis(folder / CATALOGUE, own_redis.folder_of(staging))
            stamp = datetime.fromtimestamp(now(), UTC).strftime("%Y%m%dT%H%M%S")
            aside = await asyncio.to_thread(_exchange, data_dir, staging, f"before-restore-{stamp}")
        finally:
            await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)
    return Restored(manifest, documents, aside)


@contextmanager
def _taken(data_dir: Path) -> Iterator[None]:
    """Keep the retriever out of the folder.

    Raises:
        FailedPrecondition: DATA_IN_USE.
    """
    if _listens(own_redis.socket_of(data_dir)):
        raise _in_use(data_dir, "its Redis answers")
    with ExitStack() as stack:
        for name, why in _LOCKS.items():
            lock = data_dir / "milvus" / name
            if lock.exists():
                file = stack.enter_context(lock.open("a"))
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    raise _in_use(data_dir, why) from error
        yield


def _in_use(data_dir: Path, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"Services are using {data_dir}: {why}. Stop them first, and wait until they are gone.", "DATA_IN_USE"
    )


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path.resolve()))
        except OSError:  # not there, or left by one that died
            return False
    return True


def _holds_data(data_dir: Path) -> bool:
    return any(path.is_file() for part in PARTS for path in (data_dir / part).rglob("*"))


def _copy(folder: Path, staging: Path, manifest: Manifest, report: Report) -> None:
    shutil.rmtree(staging, ignore_errors=True)
    count = sums(report, "copy", manifest.size_bytes)
    for entry in manifest.files:
        if entry.path == CATALOGUE:
            continue
        target = staging / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        # A copy and no link: what is changed here must not change the backup.
        shutil.copy2(folder / entry.path, target)
        if entry_of(staging, entry.path, count) != entry:
            raise damaged([f"{entry.path} changed while it was read"])


async def _load_redis(dump: Path, folder: Path) -> Mapping[str, int]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.restored_redis",
        str(dump.resolve()),
        str(folder.resolve()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if process.returncode:
        reason, _, message = errors.decode(errors="replace").strip().rpartition("\n")[2].partition(" ")
        raise FailedPrecondition(
            message or "The saved state of Redis could not be loaded.", reason or "DUMP_NOT_LOADED"
        )
    documents: dict[str, int] = json.loads(output)
    return documents


def _exchange(data_dir: Path, staging: Path, name: str) -> Path | None:
    """Put what was built in place of what is there; until it is done, a mark keeps services from starting."""
    sync_tree(staging)
    mark = data_dir / UNFINISHED
    mark.write_text("ragmesh restore did not finish; run it again.\n")
    sync(mark)
    sync(data_dir)
    aside: Path | None = None
    for part in PARTS:
        if (data_dir / part).exists():
            aside = _made(data_dir, name)
            (data_dir / part).rename(aside / part)
        if (staging / part).exists():
            (staging / part).rename(data_dir / part)
    sync(data_dir)
    mark.unlink()
    sync(data_dir)
    return aside


def _made(data_dir: Path, name: str) -> Path:
    folder = data_dir / name
    folder.mkdir(exist_ok=True)
    return folder
