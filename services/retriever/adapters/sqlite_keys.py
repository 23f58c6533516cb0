"""Lets the embedded engine find its rows by their keys in its SQLite file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_WAIT_S = 5.0


def find_by_key(path: Path, collection: str) -> None:
    """Index the keys of a collection's rows, when they are not yet.

    The engine keeps no index of them, so each write of it, which removes what it replaces, read the whole table: writing 100,000 rows
    took time by the square of their number. SQLite keeps the index current, whoever writes.

    Nobody may write meanwhile; a write that SQLite refuses is one that the engine forgets.

    Raises:
        sqlite3.Error: for example when the file is locked for more than 5 s.
    """
    with closing(sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)) as connection:
        connection.execute(f'CREATE INDEX IF NOT EXISTS "{collection}_keys" ON "{collection}" (milvus_id)')
