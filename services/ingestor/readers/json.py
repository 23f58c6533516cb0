"""Reads JSON and JSON lines as a stream: a line for each value, with the path to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ijson

from rag.runtime.errors import InvalidInput
from services.ingestor.pages import Opening, Page
from services.ingestor.readers.parts import clean, parts
from services.ingestor.readers.text import decoded

MAX_DEPTH = 100
MAX_DIGITS = 4_000
_HUGE_NUMBER = re.compile(f"[0-9]{{{MAX_DIGITS + 1}}}")
_MAX_PATH_CHARS = 500
_READ_CHARS = 65_536

Event = tuple[str, Any]


def read(path: Path) -> Iterator[Opening | Page]:
    """Yield the values as one document without pages; records are set apart by blank lines.

    Raises:
        InvalidInput: BAD_ENCODING, JSON_DAMAGED with the line, JSON_LIMIT.
    """
    yield Opening()
    yield from parts(0, (clean(line) for line in _Lines().of(_events(_Source(decoded(path))))))


class _Source:
    """The text as a file of bytes that hands out one line at a time, so that its line is known when parsing fails."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._lines = (line for piece in _without_huge_numbers(pieces) for line in piece.splitlines(keepends=True))
        self._rest = b""
        self._ended = False
        self.line = 1

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes of a line; nothing at the end."""
        if not self._rest:
            self.line += self._ended
            self._rest = next(self._lines, "").encode()
            self._ended = self._rest.endswith(b"\n")
        piece, self._rest = (self._rest[:size], self._rest[size:]) if size >= 0 else (self._rest, b"")
        return piece


def _without_huge_numbers(pieces: Iterator[str]) -> Iterator[str]:
    """The same pieces. A number that Python refuses to convert crashes the C code of ijson, so none gets there."""
    before = ""
    for piece in pieces:
        window = before + piece
        if _HUGE_NUMBER.search(window):
            raise InvalidInput(f"The JSON has a number of more than {MAX_DIGITS} digits.", "JSON_LIMIT")
        before = window[-MAX_DIGITS:]
        yield piece


def _events(source: _Source) -> Iterator[Event]:
    depth = 0
    try:
        for event, value in ijson.basic_parse(source, multiple_values=True, use_float=False, buf_size=_READ_CHARS):
            depth += event.startswith("start_") - event.startswith("end_")
            if depth > MAX_DEPTH:
                raise InvalidInput(
                    f"The JSON is nested more than {MAX_DEPTH} deep.", "JSON_LIMIT", line=str(source.line)
                )
            yield event, value
    except (ijson.JSONError, UnicodeError, ValueError) as error:
        message = f"The JSON is damaged or cut off in line {source.line}."
        raise InvalidInput(message, "JSON_DAMAGED", line=str(source.line)) from error


class _Lines:
    """Makes lines of events. Scalars of a list are joined on one line; the path begins below the record."""

    def __init__(self) -> None:
        self._path: list[str | int] = []
        """Keys and positions from the top; a position is that of the item being read, from 0."""
        self._scalars: list[str] = []
        self._scalar_chars = 0
        self._records = 0
        """How many positions at the beginning of the path count records: they are not told."""

    def of(self, events: Iterator[Event]) -> Iterator[str]:
        """The lines, each with its end, a blank one behind each record."""
        for event, value in events:
            if event == "map_key":
                self._path[-1] = value
            elif event.startswith("start_"):
                yield from self._start(event)
            elif event.startswith("end_"):
                yield from self._end()
            else:
                yield from self._scalar(_text(value))

    def _start(self, event: str) -> Iterator[str]:
        yield from self._flushed()
        self._step()
        if not self._path:
            self._records = int(event == "start_array")
        self._path.append("" if event == "start_map" else -1)

    def _end(self) -> Iterator[str]:
        yield from self._flushed()
        self._path.pop()
        if len(self._path) <= self._records:
            yield "\n"

    def _step(self) -> None:
        if self._path and isinstance(self._path[-1], int):
            self._path[-1] += 1

    def _scalar(self, text: str) -> Iterator[str]:
        self._step()
        if not self._path or not isinstance(self._path[-1], int):
            yield from self._line(self._path, text)
            return
        self._scalars.append(text)
        self._scalar_chars += len(text)
        if self._scalar_chars > _MAX_PATH_CHARS:
            yield from self._flushed()

    def _flushed(self) -> Iterator[str]:
        if self._scalars:
            text, self._scalars, self._scalar_chars = ", ".join(filter(None, self._scalars)), [], 0
            yield from self._line(self._path[:-1], text)

    def _line(self, path: list[str | int], text: str) -> Iterator[str]:
        if not text:
            return
        name = ""
        for step in path[self._records :]:
            name += f"[{step}]" if isinstance(step, int) else f"{'.' if name else ''}{step}"
        yield f"{name[:_MAX_PATH_CHARS]}: {text}\n" if name else f"{text}\n"


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip()
