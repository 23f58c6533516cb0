"""The structure of a stretch of text: where headings stand, and how good a place to cut each position is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

MAX_HEADING_CHARS = 160


class Cut(IntEnum):
    """How good a cut before a position is; more is better."""

    INSIDE_WORD = 0
    WORD = 1
    LINE = 2
    SENTENCE = 3
    PARAGRAPH = 4
    HEADING = 5


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading line: its offset in the text, its depth from 1, its words."""

    start: int
    depth: int
    title: str
    is_certain: bool
    """False for a line that is a heading only if it stands alone."""


@dataclass(frozen=True, slots=True)
class Structure:
    """The structure of one text, by character offset."""

    cuts: dict[int, Cut]
    """Offsets of first characters after a cut, with the cut's worth. Words are not listed."""
    headings: tuple[Heading, ...]


_LINE = re.compile(r"[^\n\f]+")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_ATX = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*?)[ \t]*#*[ \t]*")
_NUMBERED = re.compile(r"[ \t]*((?:\d{1,3}\.){0,5}\d{1,3})(\.?)[ \t]+([^\W\d_].{1,100}?)[ \t]*")
# Possessive quantifiers: a run of white space must not be tried again from each of its characters.
_SENTENCE = re.compile(r"[.!?…][\"'»”’)\]]{0,3}\s++(?=[^a-z])|[。！？]++[」』）]?+\s*+")
_PARAGRAPH = re.compile(r"[\n\f][ \t\r]*+[\n\f]\s*+|\f\s*+")
_BREAK = re.compile(r"\n[ \t]*+")
_BLANK_LINE = 2
"""Line breaks between two lines with a blank one in between, at least."""
_NO_TITLE_END = ".,;:!?-–—"
_LEADERS = re.compile(r"\.{4,}|(?:\. ){4,}|…{2,}")


def structure_of(text: str) -> Structure:
    """Find headings (Markdown `#` and numbered ones), paragraphs, sentences and lines of a text, in linear time."""
    cuts: dict[int, Cut] = {}
    for pattern, cut in ((_BREAK, Cut.LINE), (_SENTENCE, Cut.SENTENCE), (_PARAGRAPH, Cut.PARAGRAPH)):
        cuts.update((found.end(), cut) for found in pattern.finditer(text))
    headings = tuple(_headings(text))
    for heading in headings:
        cuts[heading.start] = Cut.HEADING
    return Structure(cuts, headings)


def _headings(text: str) -> list[Heading]:
    lines = [(line.start(), line.group()) for line in _LINE.finditer(text) if line.group().strip()]
    found: list[Heading] = []
    fence = ""
    for index, (start, line) in enumerate(lines):
        if len(line) > MAX_HEADING_CHARS:
            continue
        mark = _FENCE.match(line)
        if mark and fence in {"", mark[1]}:
            fence = "" if fence else mark[1]
        elif not fence:
            heading = _atx(start, line) or _numbered(start, line)
            if heading and (heading.is_certain or _stands_alone(lines, index)):
                found.append(heading)
    return found


def _atx(start: int, line: str) -> Heading | None:
    match = _ATX.fullmatch(line)
    if match is None:
        return None
    return Heading(start + line.index("#"), len(match[1]), match[2].strip(), is_certain=True)


def _numbered(start: int, line: str) -> Heading | None:
    match = _NUMBERED.fullmatch(line)
    if match is None:
        return None
    title = match[3]
    if not title[0].isupper() or title[-1] in _NO_TITLE_END or title[-1].isdigit() or _LEADERS.search(title):
        return None
    depth = match[1].count(".") + 1
    # One number alone may as well begin an item of a list.
    return Heading(start + match.start(1), depth, f"{match[1]}{match[2]} {title}", is_certain=depth > 1)


def _stands_alone(lines: list[tuple[int, str]], index: int) -> bool:
    """Whether blank lines surround the line and its neighbours are not numbered too."""
    start, line = lines[index]
    if index > 0:
        begin, before = lines[index - 1]
        if start - begin - len(before) < _BLANK_LINE or _NUMBERED.fullmatch(before):
            return False
    if index + 1 < len(lines):
        begin, after = lines[index + 1]
        if begin - start - len(line) < _BLANK_LINE or _NUMBERED.fullmatch(after):
            return False
    return True
