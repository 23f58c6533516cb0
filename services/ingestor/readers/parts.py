"""Clean text in parts of bounded size: what every reader sends through."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from services.ingestor.pages import Page

PART_CHARS = 32_768
"""The longest part of a page that is sent at once, in characters."""

_SURROGATES = re.compile("[\ud800-\udfff]")
_GOOD_ENDS = ("\n\n", "\n", " ")


def clean(text: str) -> str:
    """The text in NFC, with line feeds only, without NUL, and fit for UTF-8."""
    text = text.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")
    return unicodedata.normalize("NFC", _SURROGATES.sub("\ufffd", text))


def parts(number: int, pieces: Iterable[str]) -> Iterator[Page]:
    """The pieces of one page's text as parts of at most `PART_CHARS`, cut where lines or paragraphs end if possible."""
    rest = ""
    continues = False
    for piece in _short(pieces):
        rest += piece
        while len(rest) > PART_CHARS:
            end = _end(rest)
            yield Page(number, rest[:end], continues)
            rest, continues = rest[end:], True
    if rest or not continues:
        yield Page(number, rest, continues)


def _short(pieces: Iterable[str]) -> Iterator[str]:
    """The same text in pieces of bounded size: what is left of a long one would be copied for each part."""
    for piece in pieces:
        yield from (piece[at : at + PART_CHARS] for at in range(0, len(piece), PART_CHARS))


def _end(text: str) -> int:
    """Where the first part ends. Before a Markdown heading is best: the next part begins with it."""
    heading = text.rfind("\n#", PART_CHARS // 2, PART_CHARS)
    if heading > 0:
        return heading + 1
    for mark in _GOOD_ENDS:
        at = text.rfind(mark, PART_CHARS // 2, PART_CHARS)
        if at > 0:
            return at + len(mark)
    return PART_CHARS
