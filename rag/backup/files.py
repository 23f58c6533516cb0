"""Files of backups: copied with their hashes, compared with them, made durable."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from rag.backup.manifest import INDEX, NAME, Entry, Manifest, damaged
from rag.durable import sync

Report = Callable[[str, int, int], None]
"""Told about a step, how many bytes of it are done, and how many there are."""
_AT_ONCE = 4 << 20


def sums(report: Report, step: str, total: int) -> Callable[[int], None]:
    """Return what takes the size of each piece that was done of a step, and reports their sum."""
    done = 0

    def add(size: int) -> None:
        nonlocal done
        done += size
        report(step, done, total)

    return add


def entry_of(folder: Path, path: str, report: Callable[[int], None]) -> Entry:
    """Return the entry of a file, reading all of it; `report` is told of each bytes that were read."""
    digest, size = hashlib.sha256(), 0
    with (folder / path).open("rb") as file:
        while block := file.read(_AT_ONCE):
            digest.update(block)
            size += len(block)
            report(len(block))
    return Entry(path, size, digest.hexdigest())


def check_files(folder: Path, manifest: Manifest, report: Report) -> None:
    """Make sure that a folder holds what its manifest says and nothing else, and that the index can be read.

    Raises:
        FailedPrecondition: BACKUP_DAMAGED, naming up to ten problems.
    """
    problems = list(_misfits(folder, manifest))
    if problems:
        raise damaged(problems)
    count = sums(report, "hashes", manifest.size_bytes)
    changed = [entry.path for entry in manifest.files if entry_of(folder, entry.path, count) != entry]
    problems = [f"{path} was changed: its SHA-256 is another one" for path in changed]
    if problems:
        raise damaged(problems)
    check_index(folder / INDEX)


def check_index(path: Path) -> None:
    """Make sure that the index is a whole SQLite database.

    Raises:
        FailedPrecondition: BACKUP_DAMAGED.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            found = database.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        raise damaged([f"{INDEX} is no readable database"]) from error
    if found != ("ok",):
        raise damaged([f"{INDEX} is a damaged database"])


def _misfits(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Yield what can be seen without reading the files."""
    wanted = {entry.path: entry for entry in manifest.files}
    found = dict(_walk(folder))
    for path, entry in wanted.items():
        if path not in found:
            yield f"{path} is missing"
        elif found[path] != entry.size:
            yield f"{path} has {found[path]} bytes instead of {entry.size}"
    for path in found.keys() - wanted.keys() - {NAME}:
        yield f"{path} does not belong to it"


def _walk(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield all that is no folder, with its size; -1 for what is no plain file, such as a link out of the backup."""
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in (*names, *links):
            path = Path(parent) / name
            is_plain = path.is_file() and not path.is_symlink()
            yield path.relative_to(folder).as_posix(), path.stat().st_size if is_plain else -1


def sync_tree(folder: Path) -> None:
    """Make all files and names below a folder durable."""
    for parent, _, names in os.walk(folder):
        for name in names:
            sync(Path(parent) / name)
        sync(Path(parent))


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the same file when that is possible, else a copy. Only for files that are never written again."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)


def move(source: Path, target: Path) -> None:
    """Move a file, to another file system too."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(source, target)
