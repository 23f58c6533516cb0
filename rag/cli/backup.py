"""`ragmesh backup` and `ragmesh restore`: everything that an embedded deployment keeps, out of it and back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from redis.exceptions import RedisError
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from rag import own_redis
from rag.backup.files import Report
from rag.backup.manifest import Manifest
from rag.backup.restoring import restore as bring_back
from rag.backup.restoring import verify as check
from rag.backup.taking import take
from rag.cli.operating import DataDir, Retriever, embedded_data, open_retriever, readable
from rag.cli.plain import line
from rag.cli.terminal import Json, err, out, print_json, run
from rag.runtime.errors import Unavailable
from rag.runtime.redis import open_redis

_FORK_S = 60.0
_STEPS = {
    "redis": "saving the state of Redis",
    "index": "copying the index",
    "uploads": "keeping the uploads",
    "hashes": "reading every file",
    "copy": "copying every file",
}

Backup = Annotated[Path, typer.Argument(metavar="FOLDER", help="The backup's folder.")]


def backup(
    folder: Backup,
    *,
    verify: Annotated[bool, typer.Option("--verify", help="Only check the backup that is there.")] = False,
    data_dir: DataDir = None,
    retriever: Retriever = "",
    as_json: Json = False,
) -> None:
    """Back up everything an embedded deployment keeps, while it runs: catalogue, queue, index, uploads.

    The backup is the state of one moment. What is accepted later, deletions
    too, is not in it. The folder appears when the backup is whole, and must
    not exist before. It holds all texts and waiting passwords: guard it.

    Exit code 0 when the backup is whole, 1 when not.
    """
    run(_verify(folder, as_json=as_json) if verify else _backup(folder, data_dir, retriever, as_json=as_json))


def restore(
    folder: Backup,
    *,
    data_dir: DataDir = None,
    force: Annotated[bool, typer.Option("--force", help="Move aside data that is there; nothing is deleted.")] = False,
    as_json: Json = False,
) -> None:
    """Bring a backup back into a data folder, with all services stopped.

    Every file is checked first; a damaged backup is refused, and nothing is
    touched. Then start the services: jobs that were not finished go on.

    Exit code 0 when the data folder holds the backup, 1 when it is as it was.
    """
    run(_restore(folder, data_dir, force=force, as_json=as_json))


async def _backup(folder: Path, data_dir: Path | None, retriever: str, *, as_json: bool) -> int:
    data = embedded_data(data_dir)
    with _progress(as_json=as_json) as report, _readable(folder):
        async with open_redis(own_redis.url_of(data), _FORK_S) as redis, open_retriever(retriever) as index:
            try:
                await redis.ping()
            except (RedisError, OSError) as error:
                message = f"No Redis answers in {data}. Is ragmesh running? While it is stopped, copy the whole folder."
                raise Unavailable(message, "REDIS_UNAVAILABLE") from error
            manifest = await take(folder, data, redis, index, report)
    _tell(folder, manifest, manifest.documents, "backed up", as_json=as_json)
    return 0


async def _verify(folder: Path, *, as_json: bool) -> int:
    with _progress(as_json=as_json) as report, _readable(folder):
        manifest = await asyncio.to_thread(check, folder, report)
    _tell(folder, manifest, manifest.documents, "whole", as_json=as_json)
    return 0


async def _restore(folder: Path, data_dir: Path | None, *, force: bool, as_json: bool) -> int:
    data = embedded_data(data_dir)
    with _progress(as_json=as_json) as report, _readable(folder):
        restored = await bring_back(folder, data, report, force=force)
    more = {"moved_aside": str(restored.aside)} if restored.aside else {}
    _tell(data, restored.manifest, restored.documents, "restored", as_json=as_json, **more)
    if not as_json:
        if restored.aside:
            out.print(f"What was there before lies in {line(str(restored.aside))}.", soft_wrap=True)
        out.print("Start the services now; unfinished jobs go on.")
    return 0


def _tell(
    folder: Path, manifest: Manifest, documents: Mapping[str, int], what: str, *, as_json: bool, **more: str
) -> None:
    if as_json:
        told: dict[str, Any] = {
            "state": what,
            "folder": str(folder),
            "created_at": manifest.created_at,
            "documents": sum(documents.values()),
            "tenants": dict(documents),
            "files": len(manifest.files),
            "bytes": manifest.size_bytes,
        }
        print_json({**told, **more})
        return
    count = sum(documents.values())
    sizes = f"{len(manifest.files)} files, {decimal(manifest.size_bytes)}"
    tenants = f"{len(documents)} tenant{'' if len(documents) == 1 else 's'}"
    out.print(
        f"{what}: {line(str(folder))}: about {count:,} documents of {tenants}; {sizes}; of {manifest.created_at}",
        soft_wrap=True,
    )


@contextmanager
def _progress(*, as_json: bool) -> Iterator[Report]:
    """Show how far it is: a bar in a terminal, a line for each step elsewhere; on stderr, so that a pipe gets the result only."""
    seen: set[str] = set()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=as_json or not err.is_terminal) as bars:
        bar = bars.add_task("", total=None)

        def report(step: str, done: int, total: int) -> None:
            bars.update(bar, description=_STEPS[step], completed=done, total=total or None)
            if step not in seen and not as_json and not err.is_terminal:
                err.print(_STEPS[step])
            seen.add(step)

        yield report


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Turn what the system and Redis say into one sentence."""
    try:
        with readable(folder):
            yield
    except RedisError as error:
        raise Unavailable(f"Redis: {error}.", "REDIS_UNAVAILABLE") from error
