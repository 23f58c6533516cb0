"""What deleted rows leave in a SQLite file, overwritten with zeros while the file's owner goes on reading.

The embedded engine deletes without `secure_delete`, and its SQLite moves rows between pages: copies of deleted texts stay in free
pages, in the gaps of pages in use, and behind the end of long rows. A VACUUM would remove them too, but it locks every
reader out for as long as it rewrites the whole store. Here all bytes that belong to nothing are found by walking the
file (https://www.sqlite.org/fileformat2.html), and only these are overwritten: what is in use never changes, so a reader
sees no difference and a crash at any point does no harm.
"""

from __future__ import annotations

import mmap
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class

_WAIT_S = 5.0
_LOCK_BYTE = 0x4000_0000
"""SQLite never uses the page that holds it."""
_PAGE_SIZE, _WRITE_VERSION, _CHANGES, _PAGES, _VALID_FOR = 16, 18, 24, 28, 92
_ROLLBACK_JOURNAL = 1
"""The only journal with which the file itself holds the newest pages."""
_RESERVED, _FREE_TRUNK, _AUTO_VACUUM = 20, 32, 52
_FILE_HEADER = 100
_INTERIOR_INDEX, _INTERIOR_TABLE, _LEAF_INDEX, _LEAF_TABLE = 2, 5, 10, 13
_KINDS = {_INTERIOR_INDEX, _INTERIOR_TABLE, _LEAF_INDEX, _LEAF_TABLE}
_SHORT, _WORD, _PAGE_HEADER = Struct(">H"), Struct(">I"), Struct(">BHHHB")

Range = tuple[int, int]
"""Where unused bytes begin and end in the file."""


class UnknownLayout(Exception):
    """The file is built in a way that this module does not know."""


def scrub(path: Path) -> int:
    """Overwrite what deleted rows left in the file; return how many bytes that were.

    Nobody may write to the database meanwhile; that is made sure of for up to 5 s, then sqlite3.OperationalError is raised.
    A file of unknown layout is vacuumed, which locks out its readers.
    """
    # A process loses its locks on a file when it closes any descriptor of it: this one is closed last.
    descriptor = os.open(path, os.O_RDWR)
    try:
        with closing(sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # keeps writers out, lets readers in
            try:
                return _overwrite(descriptor, connection)
            except UnknownLayout:
                connection.execute("ROLLBACK")
                connection.execute("PRAGMA secure_delete = ON")
                connection.execute("VACUUM")
                return 0
    finally:
        os.close(descriptor)


def _overwrite(descriptor: int, connection: sqlite3.Connection) -> int:
    roots = [1, *(row[0] for row in connection.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 0"))]
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as data:
        try:
            unused = Pages(data).unused(roots)
        except (IndexError, StructError) as error:
            raise UnknownLayout from error
        dirty = [(start, end) for start, end in unused if data[start:end].count(0) != end - start]
        changes = _WORD.unpack_from(data, _CHANGES)[0]
    for start, end in dirty:
        os.pwrite(descriptor, bytes(end - start), start)
    if dirty:
        os.fsync(descriptor)
        # Other connections drop the pages that they hold, or they would write the old bytes back.
        counter = _WORD.pack((changes + 1) % 2**32)
        os.pwrite(descriptor, counter, _CHANGES)
        os.pwrite(descriptor, counter, _VALID_FOR)
    return sum(end - start for start, end in dirty)


class Pages:
    """The pages of a database file, walked from its roots."""

    def __init__(self, data: mmap.mmap | bytes) -> None:
        self._data = data
        size = _SHORT.unpack_from(data, _PAGE_SIZE)[0]
        self._size = 65_536 if size == 1 else size
        self._count = _WORD.unpack_from(data, _PAGES)[0]
        if data[_WRITE_VERSION] != _ROLLBACK_JOURNAL:
            raise UnknownLayout
        if data[_RESERVED] or _WORD.unpack_from(data, _AUTO_VACUUM)[0] or self._count * self._size != len(data):
            raise UnknownLayout
        self._seen = bytearray(self._count + 1)
        lock_page = _LOCK_BYTE // self._size + 1
        if lock_page <= self._count:
            self._seen[lock_page] = 1

    def unused(self, roots: list[int]) -> list[Range]:
        """Return the ranges that belong to nothing.

        Raises:
            UnknownLayout: when not every page was reached exactly once, so that something is not understood.
        """
        found = list(self._free_pages())
        pages = list(roots)
        while pages:
            page = pages.pop()
            children, ranges = self._tree_page(page)
            pages += children
            found += ranges
        if self._seen.count(1) != self._count:
            raise UnknownLayout
        return found

    def _at(self, page: int) -> int:
        if not 1 <= page <= self._count or self._seen[page]:
            raise UnknownLayout
        self._seen[page] = 1
        return (page - 1) * self._size

    def _free_pages(self) -> Iterator[Range]:
        trunk = _WORD.unpack_from(self._data, _FREE_TRUNK)[0]
        while trunk:
            start = self._at(trunk)
            trunk, count = Struct(">II").unpack_from(self._data, start)
            used = start + 8 + 4 * count
            if used > start + self._size:
                raise UnknownLayout
            for page in Struct(f">{count}I").unpack_from(self._data, start + 8):
                at = self._at(page)
                yield at, at + self._size
            yield used, start + self._size

    def _tree_page(self, page: int) -> tuple[list[int], list[Range]]:
        """Return the children of a page of a tree, and the unused ranges of it and of the long rows that begin in it."""
        start = self._at(page)
        head = start + (_FILE_HEADER if page == 1 else 0)
        kind, freeblock, cells, content, _ = _PAGE_HEADER.unpack_from(self._data, head)
        if kind not in _KINDS:
            raise UnknownLayout
        interior = kind in {_INTERIOR_INDEX, _INTERIOR_TABLE}
        pointers = head + (12 if interior else 8)
        places = [start + place for place in Struct(f">{cells}H").unpack_from(self._data, pointers)]
        ranges = [(pointers + 2 * cells, start + (content or 65_536))]
        while freeblock:
            at = start + freeblock
            freeblock, length = Struct(">HH").unpack_from(self._data, at)
            ranges.append((at + 4, at + length))
        if any(not start <= begin <= end <= start + self._size for begin, end in ranges):
            raise UnknownLayout
        children = [_WORD.unpack_from(self._data, place)[0] for place in places] if interior else []
        if interior:
            children.append(_WORD.unpack_from(self._data, head + 8)[0])
        if kind != _INTERIOR_TABLE:
            for place in places:
                ranges += self._overflow(place, kind)
        return children, ranges

    def _overflow(self, place: int, kind: int) -> list[Range]:
        """Return the unused end of the last page of a row that does not fit into its own page."""
        payload, at = self._number(place + (4 if kind == _INTERIOR_INDEX else 0))
        most = self._size - 35 if kind == _LEAF_TABLE else (self._size - 12) * 64 // 255 - 23
        if payload <= most:
            return []
        if kind == _LEAF_TABLE:
            _, at = self._number(at)
        least = (self._size - 12) * 32 // 255 - 23
        local = least + (payload - least) % (self._size - 4)
        local = local if local <= most else least
        left, page = payload - local, _WORD.unpack_from(self._data, at + local)[0]
        while True:
            start = self._at(page)
            page = _WORD.unpack_from(self._data, start)[0]
            left -= self._size - 4
            if left <= 0:
                break
        if page:
            raise UnknownLayout
        return [(start + self._size + left, start + self._size)]

    def _number(self, at: int) -> tuple[int, int]:
        """Return the variable-length number at a place, and the place after it."""
        value = 0
        for _ in range(8):
            byte = self._data[at]
            at += 1
            value = value << 7 | byte & 127
            if byte < 128:
                return value, at
        return value << 8 | self._data[at], at + 1
