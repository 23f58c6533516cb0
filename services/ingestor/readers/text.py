"""Reads plain text in whatever encoding it is, a piece at a time."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

import charset_normalizer

from rag.runtime.errors import InvalidInput
from services.ingestor.pages import Opening, Page
from services.ingestor.readers.parts import clean, parts
from services.ingestor.sniffing import HEAD_BYTES, wide_encoding

_PIECE_BYTES = 65_536
_SAMPLE_BYTES = 262_144
_MOST_CHAOS = 0.2
"""How much of a guessed text may look like noise."""


def read(path: Path) -> Iterator[Opening | Page]:
    """Yield the text as one document without pages.

    Raises:
        InvalidInput: BAD_ENCODING, NO_TEXT.
    """
    yield Opening()
    yield from parts(0, decoded(path))


def decoded(path: Path) -> Iterator[str]:
    """The clean text of a file in pieces.

    Raises:
        InvalidInput: BAD_ENCODING when its bytes are text in no encoding that can be told.
    """
    encoding = encoding_of(path)
    decoder = codecs.getincrementaldecoder(encoding)(errors="strict")
    held = ""
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                # A last character is held back: what it composes with, or its line feed, may come next.
                text = held + decoder.decode(piece)
                text, held = text[:-1], text[-1:]
                yield clean(text)
        yield clean(held + decoder.decode(b"", final=True))
    except UnicodeError as error:
        raise _bad_encoding() from error


def encoding_of(path: Path) -> str:
    """The encoding of a text file: UTF-8 when it is valid, else what marks or statistics tell.

    Raises:
        InvalidInput: BAD_ENCODING when none is likely enough.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    encoding = wide_encoding(head)
    if encoding:
        return encoding
    return "utf-8" if _is_valid(path, "utf-8") else _guess(path)


def _is_valid(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)(errors="strict")
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                decoder.decode(piece)
            decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


def _guess(path: Path) -> str:
    with path.open("rb") as file:
        sample = file.read(_SAMPLE_BYTES)
    best = charset_normalizer.from_bytes(sample, threshold=_MOST_CHAOS).best()
    if best is None or best.encoding == "utf_8" or not _is_valid(path, best.encoding):
        raise _bad_encoding()
    return best.encoding


def _bad_encoding() -> InvalidInput:
    message = "The text is not valid UTF-8 and its encoding could not be told; save it as UTF-8."
    return InvalidInput(message, "BAD_ENCODING")
