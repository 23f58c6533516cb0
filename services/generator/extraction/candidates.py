"""What can be quoted from a passage: sentences, rows of tables with their heads, introductions with what they introduce."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rag.passage import HEADING_JOINER
from services.generator.events import Source
from services.generator.extraction.layout import Kind, Piece, pieces
from services.generator.extraction.quotable import JOINT, OMITTED, Candidate, Form, shown

_MOST_JOINED, _MOST_JOINED_WORDS = 12, 60
_MOST_HEAD_WORDS = 36
_MOST_CELLS = 3
_MOST_CELL_WORDS = 28
_MOST_LEAD_WORDS = 40
_IS_DATA = re.compile(r"^\W*\d[\d.,]*\W*$|\w_\w")
_LEADS = (":", "：")


def candidates(source: Source) -> Iterator[Candidate]:
    """Yield what can be quoted from a source, in its order."""
    passage = source.passage
    found = pieces(passage.text, [*passage.heading.split(HEADING_JOINER), source.title])
    yield from _Reading(source, found).candidates()


class _Reading:
    """One passage, read piece by piece."""

    def __init__(self, source: Source, found: Sequence[Piece]) -> None:
        self._source = source
        self._text = source.passage.text
        self._first = len(self._text) - len(self._text.lstrip())
        self._pieces = found
        self._heading = ""
        self._columns = ""
        """What the columns of the table are called, as far as that is known."""

    def candidates(self) -> Iterator[Candidate]:
        at = 0
        while at < len(self._pieces):
            piece = self._pieces[at]
            if piece.kind is Kind.HEADING:
                self._heading = self._raw(piece)
                at += 1
            elif piece.kind in {Kind.CELL, Kind.FIGURES}:
                end = self._end_of_table(at)
                yield from self._table(self._pieces[at:end], self._caption(at))
                at = end
            elif piece.kind is Kind.ROW:
                end = self._while(at, {Kind.ROW})
                yield from self._marked_table(self._pieces[at:end])
                at = end
            else:
                yield from self._prose(at)
                at += 1

    def _prose(self, at: int) -> Iterator[Candidate]:
        piece = self._pieces[at]
        text = shown(self._raw(piece))
        if piece.kind is Kind.CODE:
            yield self._one(Form.CODE, [piece], text)
            return
        form = Form.ITEM if piece.kind is Kind.ITEM else Form.SENTENCE
        yield self._one(form, [piece], text)
        if text.endswith(_LEADS) and len(text.split()) <= _MOST_LEAD_WORDS:
            yield from self._introduced(at, text)

    def _introduced(self, at: int, lead: str) -> Iterator[Candidate]:
        """Yield the sentence with the list or the code that it introduces, as far as there is room."""
        joined, words = [], len(lead.split())
        kind = self._pieces[at + 1].kind if at + 1 < len(self._pieces) else None
        for piece in self._pieces[at + 1 : at + 1 + _MOST_JOINED]:
            text = shown(self._raw(piece))
            words += len(text.split())
            if (
                piece.kind is not kind
                or kind not in {Kind.ITEM, Kind.CODE, Kind.SENTENCE, Kind.CELL}
                or words > _MOST_JOINED_WORDS
            ):
                break
            joined.append(text)
            if kind is not Kind.ITEM and kind is not Kind.CODE:
                break
        if joined:
            yield self._one(Form.INTRODUCED, [self._pieces[at]], f"{lead} {JOINT.join(joined)}")

    def _marked_table(self, rows: Sequence[Piece]) -> Iterator[Candidate]:
        self._columns = self._raw(rows[0]) if self._is_head(rows[0]) else ""
        for place, row in enumerate(rows):
            cells = [shown(cell) for cell in re.split(r"(?<!\\)\|", self._raw(row).strip("| "))]
            # The first row of a table is its head; a passage may begin in the middle of one.
            if place or not self._is_head(row):
                yield self._one(Form.ROW, [row], JOINT.join(cell for cell in cells if cell), cells[0])

    def _is_head(self, row: Piece) -> bool:
        return re.match(r"[^\n]*\n[ \t]*\|[ \t|:-]+(?:\n|$)", self._text[row.start :]) is not None

    def _table(self, table: Sequence[Piece], caption: str) -> Iterator[Candidate]:
        runs = list(_runs(table))
        width = self._usual_width(runs)
        head: list[str] = []
        """The lines above the first row of figures."""
        group = ""
        """The line above some of the rows that says what they are together, when it is right above."""
        had_figures = False
        self._columns = ""
        for run, closing in runs:
            lines = [self._raw(piece) for piece in run]
            if closing and closing.kind is Kind.SENTENCE and self._raw(closing).endswith(":"):
                head, group = (head, self._raw(closing)) if had_figures else (lines, self._raw(closing))
            elif closing and closing.kind is Kind.FIGURES:
                if lines and not had_figures and not group:
                    head = [caption, *lines] if caption else lines
                elif lines:
                    group = lines[-1]
                had_figures = True
                yield self._figures(closing, head, group)
                group = ""
            else:
                yield from self._cells(run, closing, width)

    def _figures(self, row: Piece, head: Sequence[str], group: str) -> Candidate:
        text = shown(self._raw(row))
        above = shown(" ".join(" ".join(head).split()[-_MOST_HEAD_WORDS:]))
        below = JOINT.join(part for part in (shown(group), text) if part)
        named = re.sub(r"[\d$%(),.—–-]+", " ", text)
        return self._one(Form.FIGURES, [row], OMITTED.join(part for part in (above, below) if part), named)

    def _cells(self, run: Sequence[Piece], closing: Piece | None, width: int) -> Iterator[Candidate]:
        """Yield a row whose cells have a line each; a single line above a sentence is a heading, unless others are alike."""
        if closing is None:
            for first in range(0, len(run), 2 * _MOST_CELLS):
                some = run[first : first + 2 * _MOST_CELLS]
                yield self._one(Form.FRAGMENT, some, JOINT.join(shown(self._raw(piece)) for piece in some))
            return
        if run and not width:
            self._heading = self._raw(run[-1])
        last = shown(self._raw(closing))
        is_row = bool(run and width) and len(last.split()) <= _MOST_CELL_WORDS
        cells = [*run[-width:], closing] if is_row else [closing]
        if is_row and not self._columns:
            self._columns = " ".join(self._raw(piece) for piece in run[:-width])
        texts = [shown(self._raw(piece)) for piece in cells]
        if last.casefold().startswith(texts[0].casefold()):  # a heading whose words the sentence begins with
            is_row, cells, texts = False, [closing], [last]
        yield self._one(Form.ROW if is_row else Form.SENTENCE, cells, JOINT.join(texts), texts[0] if is_row else "")

    def _one(self, form: Form, made_of: Sequence[Piece], text: str, label: str = "") -> Candidate:
        start = made_of[0].start
        above = f"{self._heading} {self._columns}" if form is Form.ROW else self._heading
        return Candidate(self._source, form, start, text, label, above, opens_passage=start == self._first)

    def _usual_width(self, runs: Sequence[tuple[Sequence[Piece], Piece | None]]) -> int:
        """Return how many cells stand before the sentence that ends a row; 0 when it is no table."""
        before = [run for run, closing in runs if run and closing and closing.kind is Kind.SENTENCE]
        if len(before) > 1:
            return min(_MOST_CELLS, Counter(map(len, before)).most_common(1)[0][0])
        # Of a single row: two lines of words may as well be two headings.
        is_row = bool(before) and len(before[0]) > 1 and any(_IS_DATA.search(self._raw(cell)) for cell in before[0])
        return min(_MOST_CELLS, len(before[0])) if is_row else 0

    def _caption(self, at: int) -> str:
        """Return the sentence right above a table, if it leads to it."""
        before = self._raw(self._pieces[at - 1]) if at else ""
        return before if before.endswith(":") else ""

    def _raw(self, piece: Piece) -> str:
        return self._text[piece.start : piece.end]

    def _while(self, at: int, kinds: set[Kind]) -> int:
        while at < len(self._pieces) and self._pieces[at].kind in kinds:
            at += 1
        return at

    def _end_of_table(self, at: int) -> int:
        """Return the end of lines that are cells, figures, what ends a row of cells, and labels between figures."""
        end = at
        while end < len(self._pieces):
            piece = self._pieces[end]
            beside_cell = piece.kind is Kind.SENTENCE and self._pieces[end - 1].kind is Kind.CELL
            is_label = piece.kind is Kind.SENTENCE and self._raw(piece).endswith(":") and self._is_between_figures(end)
            if piece.kind not in {Kind.CELL, Kind.FIGURES} and not (end > at and (beside_cell or is_label)):
                break
            end += 1
        return end

    def _is_between_figures(self, at: int) -> bool:
        around = {piece.kind for piece in (*self._pieces[at - 1 : at], *self._pieces[at + 1 : at + 2])}
        return around == {Kind.FIGURES}


def _runs(table: Iterable[Piece]) -> Iterator[tuple[list[Piece], Piece | None]]:
    """Yield the cells before each row of figures or sentence, with it; the cells at the end with nothing."""
    run: list[Piece] = []
    for piece in table:
        if piece.kind is Kind.CELL:
            run.append(piece)
        else:
            yield run, piece
            run = []
    if run:
        yield run, None
