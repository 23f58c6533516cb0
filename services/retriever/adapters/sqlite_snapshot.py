"""A copy of a SQLite file that another process has open: page by page, under a lock that lets readers in."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from rag.durable import sync

_WAIT_S = 30.0


def copy_database(source: Path, target: Path) -> None:
    """Copy the database as of now. Writers of other processes wait meanwhile.

    Raises:
        sqlite3.Error: it cannot be read, or stays locked for 30 s.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    original = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", timeout=_WAIT_S, uri=True)
    with closing(original), closing(sqlite3.connect(target)) as copy:
        copy.execute("PRAGMA journal_mode = OFF")  # a copy that breaks off is thrown away
        original.backup(copy)


def check_database(path: Path) -> None:
    """Make sure that a copy is whole, and on the disk.

    Raises:
        sqlite3.Error: it is damaged.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as copy:
        found = [row[0] for row in copy.execute("PRAGMA integrity_check(1)")]
    if found != ["ok"]:
        raise sqlite3.DatabaseError(str(found))
    sync(path)
