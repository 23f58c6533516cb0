"""What the lines of a passage are: sentences, list items, headings, rows of tables, code, or furniture of the page.

Text out of PDF files has no marks for any of this, so it is told from the lines: a table comes either with a line for each
row, the label first and figures behind it, or with a line for each cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from services.generator.texts import sentences


class Kind(Enum):
    """What a piece of a passage is."""

    SENTENCE = auto()
    ITEM = auto()
    HEADING = auto()
    CELL = auto()
    """A short line without an end: a heading, a cell of a table, a line of an address."""
    FIGURES = auto()
    """A line that is a row of a table: a label with figures behind it."""
    ROW = auto()
    """A row of a table in Markdown."""
    CODE = auto()
    FURNITURE = auto()
    """What belongs to the page and not to the text."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a passage, without the white space around it."""

    kind: Kind
    start: int
    end: int


_FENCE = re.compile(r"\s*(?:```|~~~)")
_ROW = re.compile(r"\s*\|.*\|\s*$")
_RULE = re.compile(r"(?:[\s|:=_*®™©-]|\(\d{1,2}\)|[()])*$")
"""Lines that are drawn, and footnote marks left alone on a line."""
_FIGURE = re.compile(r"[($€£¥]*\d[\d,.]*\d[)%]*|[($€£¥]*\d[)%]*|[$€£¥%)(—–-]+|\(?—\)?")
_PLAIN_YEAR = re.compile(r"(?:19|20)\d\d")
_MARKED_NUMBER = re.compile(r"\d[,.]\d|[$€£¥%()]")
_MOST_LABEL_WORDS = 14
_BULLET = re.compile(r"\s*(?:[-*+•·▪◦–—]\s+|\(?\d{1,3}[.)]\s+|\(?[a-z][.)]\s+)")
_NUMBERED_HEADING = re.compile(
    r"(?:(?:Item|Note|Part|Chapter|Section|Appendix)\s+\d{1,3}[A-Z]?|\d{1,3}(?:\.\d{1,3})*)\.?\s*[–—:-]?\s+[A-Z][^.!?]*$"
)
_CONTENTS_LINE = re.compile(r"\.{4,}|(?:\. ){3,}|…{2,}|(?:_ ?){4,}")
_RUNNING_LINE = re.compile(r"\s*[^|]+\|[^|]*(?:\|[^|]*)?\d+\s*$")
_PAGE_NUMBER = re.compile(r"(?:page|p\.|seite)?\s*\d{1,4}(?:\s*(?:/|of|von)\s*\d{1,4})?\s*$", re.IGNORECASE)
_ENDS = re.compile(r"""[.!?…:;。！？｡]["'”’»)\]」』]*$""")
_LETTER = re.compile(r"[^\W\d_]")
_LONGEST_RUNNING_LINE = 160
_MOST_CELL_WORDS = 8
_MOST_HEADING_WORDS = 14
_SHORT = 0.65
"""A line shorter than this share of the passage's longest was not ended by the width of the page."""


def ends_like_sentence(text: str) -> bool:
    """Tell whether a text ends with the mark of a sentence, closing brackets and quotes aside."""
    return _ENDS.search(text) is not None


def pieces(text: str, headings: Sequence[str] = ()) -> list[Piece]:
    """Return what a passage is made of, in its order. Page numbers, running lines, rules and lines of contents are left out.

    Args:
        text: The passage.
        headings: What it stands under: a line that says one of them is a heading.
    """
    found: list[Piece] = []
    begin = last = None
    for start, end, kind in _lines(text, {_folded(name) for name in headings}):
        if kind is not Kind.SENTENCE and begin is not None and last is not None:
            found.extend(_prose(text, begin, last))
            begin = None
        if kind is Kind.SENTENCE:
            begin = start if begin is None else begin
        elif kind is not Kind.FURNITURE:
            found.append(_trimmed(text, start, end, kind))
        last = end
    if begin is not None and last is not None:
        found.extend(_prose(text, begin, last))
    return found


def _lines(text: str, names: set[str]) -> Iterator[tuple[int, int, Kind]]:
    """Yield each line with its kind; SENTENCE for all that is prose, list items too."""
    lines = [(m.start(), m.end()) for m in re.finditer(r"[^\n\f]+", text) if m[0].strip()]
    texts = [text[start:end] for start, end in lines]
    figures = _figure_lines(texts)
    short = _SHORT * max(map(len, texts), default=0)
    in_code = goes_on = False
    for at, (start, end) in enumerate(lines):
        line = texts[at]
        if _FENCE.match(line):
            in_code = not in_code
            kind = Kind.FURNITURE
        elif in_code:
            kind = Kind.CODE
        else:
            after_blank = at == 0 or text.count("\n", lines[at - 1][1], start) > 1
            kind = _kind(line, short, names, is_figures=figures[at], goes_on=goes_on and not after_blank)
            if at in {0, len(lines) - 1} and _PAGE_NUMBER.match(line.strip()):
                kind = Kind.FURNITURE
        # Only a line that the width of the page has ended goes on in the next one.
        goes_on = kind is Kind.SENTENCE and not ends_like_sentence(line.rstrip())
        yield start, end, kind


def _kind(line: str, short: float, names: set[str], *, is_figures: bool, goes_on: bool) -> Kind:
    plain = line.strip()
    if _RULE.match(plain) or _CONTENTS_LINE.search(plain) or _is_running_line(plain):
        return Kind.FURNITURE
    if _ROW.match(plain):
        return Kind.ROW
    if is_figures:
        return Kind.FIGURES
    if plain.startswith("#") or _folded(plain) in names:
        return Kind.HEADING
    if goes_on or _BULLET.match(line) or len(line) > short:
        return Kind.SENTENCE
    words = len(plain.split())
    if _NUMBERED_HEADING.match(plain) and words <= _MOST_HEADING_WORDS:
        return Kind.HEADING
    return Kind.CELL if words <= _MOST_CELL_WORDS and not ends_like_sentence(plain) else Kind.SENTENCE


def _is_running_line(plain: str) -> bool:
    return len(plain) <= _LONGEST_RUNNING_LINE and not plain.startswith("|") and _RUNNING_LINE.match(plain) is not None


def _prose(text: str, start: int, end: int) -> Iterator[Piece]:
    for first, last in sentences.spans(text[start:end]):
        piece = text[start + first : start + last]
        if _LETTER.search(piece):
            yield Piece(Kind.ITEM if _BULLET.match(piece) else Kind.SENTENCE, start + first, start + last)


def _trimmed(text: str, start: int, end: int, kind: Kind) -> Piece:
    line = text[start:end]
    return Piece(kind, start + len(line) - len(line.lstrip()), start + len(line.rstrip()))


def _figure_lines(lines: Sequence[str]) -> list[bool]:
    """Tell which lines are rows of figures: those that look like one, and those beside one that might be."""
    counts = [_figures_behind_label(line) for line in lines]
    rows = [sure for _, sure in counts]
    for order in (range(1, len(rows)), range(len(rows) - 2, -1, -1)):
        step = 1 if order.step < 0 else -1
        for at in order:
            rows[at] = rows[at] or (counts[at][0] > 0 and rows[at + step])
    return rows


def _figures_behind_label(line: str) -> tuple[int, bool]:
    """Return how many figures end a line that begins with a label, and whether they are a row beyond doubt."""
    tokens = line.split()
    at = len(tokens)
    while at and _FIGURE.fullmatch(tokens[at - 1]):
        at -= 1
    label, behind = tokens[:at], tokens[at:]
    figures = [token for token in behind if any(map(str.isdigit, token))]
    if not 0 < len(label) <= _MOST_LABEL_WORDS or not _LETTER.search(label[0] + label[-1]):
        return 0, False
    if all(_PLAIN_YEAR.fullmatch(token) for token in figures):  # the head of a table, or the end of a date
        return 0, False
    marked = any(_MARKED_NUMBER.search(token) for token in behind)
    return len(figures), len(figures) > 2 or (len(figures) == 2 and marked)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold().strip(" #*_.:-")
