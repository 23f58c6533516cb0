"""Reads XML as a stream: the text of its elements, each with its name; no entity is expanded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, XMLParser

from rag.runtime.errors import InvalidInput
from services.ingestor.pages import Opening, Page
from services.ingestor.readers.parts import PART_CHARS, clean, parts
from services.ingestor.readers.text import decoded

MAX_DEPTH = 200
_LONG_CHARS = 200
"""A text of this length needs no name."""
_RECORD_DEPTH = 2
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")


def read(path: Path) -> Iterator[Opening | Page]:
    """Yield the text of the elements as one document without pages; records are set apart by blank lines.

    Raises:
        InvalidInput: BAD_ENCODING, XML_DAMAGED with the line, XML_ENTITIES, XML_LIMIT.
    """
    yield Opening()
    yield from parts(0, _lines(decoded(path)))


def _lines(pieces: Iterator[str]) -> Iterator[str]:
    target = _Target()
    parser = XMLParser(target=target, forbid_entities=True)
    line = 0
    try:
        for number, piece in enumerate(pieces):
            # The text is decoded already: what its declaration says of encodings no longer holds.
            parser.feed(_DECLARATION.sub(lambda found: "\n" * found[0].count("\n"), piece) if not number else piece)
            yield from target.taken()
        parser.close()
        yield from target.taken()
    except DefusedXmlException as error:
        raise InvalidInput("The XML defines entities, which is not allowed.", "XML_ENTITIES") from error
    except (ParseError, ValueError) as error:
        line = getattr(error, "position", (0, 0))[0]
        raise InvalidInput(f"The XML is damaged or cut off in line {line}.", "XML_DAMAGED", line=str(line)) from error


class _Target:
    """Gathers lines. An element in which text and elements are mixed is prose: its elements are not told apart."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._open: list[str] = []
        self._text: list[str] = []
        self._chars = 0
        self._prose = 0
        """The depth of the element that is prose; 0 outside of one."""
        self._is_leaf = False

    def taken(self) -> list[str]:
        """The lines made since the last time."""
        lines, self._lines = self._lines, []
        return lines

    def start(self, tag: str, _: dict[str, str]) -> None:
        """An element begins."""
        if len(self._open) >= MAX_DEPTH:
            raise InvalidInput(f"The XML is nested more than {MAX_DEPTH} deep.", "XML_LIMIT")
        if not self._prose:
            if any(text.strip() for text in self._text):
                self._prose = len(self._open)
            else:
                self._text = []
        self._open.append(tag.rpartition("}")[2])
        self._is_leaf = True

    def data(self, text: str) -> None:
        """Text inside the innermost element."""
        self._text.append(text)
        self._chars += len(text)
        if self._chars > PART_CHARS:
            self._lines.append(self._taken_text())

    def end(self, _: str) -> None:
        """The innermost element ends."""
        depth = len(self._open)
        tag = self._open.pop()
        if depth > self._prose > 0:
            return
        text = " ".join(self._taken_text().split())
        names_it = self._is_leaf and not self._prose and len(text) <= _LONG_CHARS
        if text:
            self._lines.append(f"{tag}: {text}\n" if names_it else f"{text}\n\n")
        elif not self._is_leaf and depth <= _RECORD_DEPTH:
            self._lines.append("\n")
        self._prose, self._is_leaf = 0, False

    def close(self) -> None:
        """The document ends."""

    def _taken_text(self) -> str:
        text, self._text, self._chars = clean("".join(self._text)), [], 0
        return text
