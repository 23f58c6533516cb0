"""A passage in plain Python, as every domain speaks of it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from itertools import accumulate

HEADING_JOINER = " > "
"""Stands between the headings of a passage, from the outermost to the innermost."""
MAX_CONTEXT_CHARS = 200
"""The most that stands above a text; a character of a script that is not Latin counts as two or more."""
_LEAST_CHARS = 16
"""Less than this of a name says nothing."""
_BEGINNING_CHARS = 2_048
_MARKS = " #*_.:-"
_LATIN_END = "\u0250"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A stretch of a document: `text` is `document_text[char_start:char_end]`, in Unicode code points."""

    id: str
    document_id: str
    version: int = 0
    """The version of the document; 0 until the retriever has given one."""
    ordinal: int
    """The position among the document's passages, from 0."""
    text: str
    heading: str
    page: int
    """From 1; 0 for a document without pages."""
    char_start: int
    char_end: int
    token_count: int
    """In tokens of the embedding model."""


def in_context(title: str, heading: str, text: str) -> str:
    """Return a passage's text below what it stands under: this is what is embedded and what a keyword search looks through.

    Said once for all rooms: a vector fits its passage only when both were made from the same text. The title stands in the
    first line and the headings in the second, each name once and none that the text itself begins with. The text comes last
    and whole; the two lines above weigh at most `MAX_CONTEXT_CHARS`: the title goes before the headings, and the inner ones
    before the outer. For one title and heading no text has more above it than the empty one.
    """
    above = _unsaid(_bounded(_names(title, heading)), text)
    titles = [name.text for name in above if name.is_title]
    headings = HEADING_JOINER.join(name.text for name in above if not name.is_title)
    return "\n".join(part for part in (*titles, headings, text) if part)


@dataclass(frozen=True, slots=True)
class _Name:
    """A title or a heading; `key` is what it is compared by."""

    key: str
    text: str
    is_title: bool


def _names(title: str, heading: str) -> list[_Name]:
    found: dict[str, _Name] = {}
    for text, is_title in ((title, True), *((part, False) for part in heading.split(HEADING_JOINER))):
        line = " ".join(text.split()).lstrip("# ")
        key = _folded(line)
        if key:
            found.setdefault(key, _Name(key, line, is_title))
    return list(found.values())


def _bounded(names: list[_Name]) -> list[_Name]:
    room = MAX_CONTEXT_CHARS
    kept: dict[str, _Name] = {}
    titles = [name for name in names if name.is_title]
    for name in (*titles, *(name for name in reversed(names) if not name.is_title)):
        if room < _LEAST_CHARS:
            break
        text = _cut(name.text, room)
        kept[name.key] = replace(name, text=text)
        room -= _weight(text) + len(HEADING_JOINER)
    return [kept[name.key] for name in names if name.key in kept]


def _unsaid(names: list[_Name], text: str) -> list[_Name]:
    """The names that the text does not begin with, one after another: as Markdown does under its own headings."""
    rest = _folded(text[:_BEGINNING_CHARS])
    left = {name.key: name for name in names}
    while said := max((key for key in left if _begins(rest, key)), key=len, default=""):
        rest = rest[len(said) :].lstrip(_MARKS)
        del left[said]
    return list(left.values())


def _begins(text: str, key: str) -> bool:
    return text.startswith(key) and not text[len(key) : len(key) + 1].isalnum()


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold().strip(_MARKS)


def _cut(text: str, room: int) -> str:
    """As much of the text as weighs `room` at most, up to the end of a word if one ends in the second half."""
    if _weight(text) <= room:
        return text
    end = next(at for at, weight in enumerate(accumulate(map(_weight, text))) if weight > room)
    space = text.rfind(" ", 0, end + 1)
    return text[: space if space > end // 2 else end].rstrip()


def _weight(text: str) -> int:
    """About the characters of a Latin script that make as many tokens: models spell other scripts letter by letter."""
    if text.isascii():
        return len(text)
    return sum(1 if char < _LATIN_END else 2 * len(unicodedata.normalize("NFD", char)) for char in text)
