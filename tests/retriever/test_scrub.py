"""What deleted rows leave in a SQLite file. Files are searched as a whole, past SQLite."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.retriever.adapters import sqlite_scrub
from services.retriever.adapters.sqlite_scrub import scrub

ROWS = 'CREATE TABLE "rows" (id INTEGER PRIMARY KEY, key VARCHAR, data BLOB)'
COUNTS = "CREATE TABLE counts (id INTEGER PRIMARY KEY, token TEXT, number INTEGER, UNIQUE (token, number))"


@contextmanager
def database(path: Path, *pragmas: str) -> Iterator[sqlite3.Connection]:
    """A database as the engine makes it: deleted bytes are left where they are."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("secure_delete = OFF", "synchronous = OFF", *pragmas):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(ROWS)
        connection.execute(COUNTS)
        yield connection


def body(name: str, size: int) -> str:
    return (f"<{name}>" * (size // (len(name) + 2) + 1))[: max(size, len(name) + 2)]


def put(connection: sqlite3.Connection, name: str, size: int) -> None:
    connection.execute("INSERT INTO rows VALUES (NULL, ?, ?)", (name, body(name, size)))
    connection.execute("INSERT OR IGNORE INTO counts VALUES (NULL, ?, ?)", (f"<{name}> " * (size % 900), size))


def drop(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("DELETE FROM rows WHERE key = ?", (name,))
    connection.execute("DELETE FROM counts WHERE token LIKE ?", (f"<{name}>%",))


def names_in(path: Path) -> set[bytes]:
    data = path.read_bytes()
    return {name for number in range(200) if (name := b"<n%03d>" % number) in data}


def kept(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return connection.execute("SELECT key, data FROM rows ORDER BY id").fetchall()


ACTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"), st.integers(0, 60), st.sampled_from([5, 300, 480, 490, 2000, 4040, 4070, 9000, 40_000])
        ),
        st.tuples(st.just("drop"), st.integers(0, 60), st.just(0)),
        st.tuples(st.just("scrub"), st.just(0), st.just(0)),
    ),
    max_size=80,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=ACTS, page_size=st.sampled_from([512, 1024, 4096, 65_536]))
def test_only_the_bytes_of_live_rows_are_left(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, int, int]], page_size: int
) -> None:
    path = tmp_path_factory.mktemp("scrub") / "a.db"
    alive: dict[str, list[int]] = {}
    with database(path, f"page_size = {page_size}") as connection:
        for act, number, size in [*acts, ("scrub", 0, 0)]:
            name = f"n{number:03d}"
            if act == "put":
                put(connection, name, size)
                alive.setdefault(name, []).append(size)
            elif act == "drop":
                drop(connection, name)
                alive.pop(name, None)
            else:
                scrub(path)
                assert names_in(path) == {f"<{name}>".encode() for name in alive}
        expected = sorted((name, body(name, size)) for name, sizes in alive.items() for size in sizes)
        assert sorted(kept(connection)) == expected
    assert scrub(path) == 0


def filled(connection: sqlite3.Connection, seed: int = 1) -> None:
    source = random.Random(seed)
    for number in range(120):
        put(connection, f"n{number:03d}", source.randrange(5, 6000))
    for number in range(0, 120, 3):
        drop(connection, f"n{number:03d}")


def test_the_other_connection_does_not_write_old_bytes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with database(path) as connection:
        filled(connection)
        assert len(kept(connection)) == 80
        assert scrub(path) > 0
        for number in range(1, 120, 3):
            connection.execute("UPDATE rows SET data = zeroblob(length(data)) WHERE key = ?", (f"n{number:03d}",))
        assert not {b"<n%03d>" % number for number in range(0, 120, 3)} & names_in(path)
        assert len(kept(connection)) == 80


def test_a_reader_in_the_middle_of_its_work_is_not_disturbed(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with database(path) as connection, closing(sqlite3.connect(path)) as reader:
        filled(connection)
        reading = reader.execute("SELECT key FROM rows ORDER BY id")
        first = reading.fetchone()
        assert scrub(path) > 0
        assert len([first, *reading]) == 80


def test_a_writer_in_the_middle_of_its_work_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_scrub, "_WAIT_S", 0.05)
    path = tmp_path / "a.db"
    with database(path) as connection:
        filled(connection)
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError):
            scrub(path)
        connection.execute("ROLLBACK")
        assert scrub(path) > 0


@pytest.mark.parametrize("pragma", ["auto_vacuum = FULL", "auto_vacuum = INCREMENTAL"])
def test_a_layout_that_is_not_known_is_vacuumed(tmp_path: Path, pragma: str) -> None:
    path = tmp_path / "a.db"
    with database(path, pragma) as connection:
        filled(connection)
        scrub(path)
        assert names_in(path) == {b"<n%03d>" % number for number in range(120) if number % 3}
        assert len(kept(connection)) == 80


def test_a_file_that_is_not_understood_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with database(path) as connection:
        filled(connection)
    data = bytearray(path.read_bytes())
    data[4096 : 4096 + 8] = b"\x99" * 8  # the root of the rows
    path.write_bytes(data)
    with pytest.raises(sqlite3.DatabaseError):
        scrub(path)
    assert path.read_bytes() == data
