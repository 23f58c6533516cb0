"""Tables as text: small ones as Markdown, long ones row by row, each row with the names of its columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

_HEAD_ROWS = 12
"""Among how many first rows the names of the columns are looked for."""
_REPEAT_CHARS = 1_200
"""After so much of a Markdown table its head is repeated: whatever passage a row ends up in shows it."""
_LONG_ROW_CHARS = 400
_MAX_NAME_CHARS = 100
_NUMBER = re.compile(r"[-+(]?\s*[$€£¥%]?\s*\d[\d.,:/ T-]*\s*[%$€£¥)]?")
_FILLED = 0.7

Row = Sequence[str]


def markdown(rows: Sequence[Row]) -> str:
    """A Markdown table; its first row is the head. Empty when no cell has text."""
    width = max((len(_trimmed(row)) for row in rows), default=0)
    lines = [_markdown_line(row, width) for row in rows if any(row)]
    if not lines:
        return ""
    head = [lines[0], "| " + " | ".join(["---"] * width) + " |"]
    made, since = list(head), 0
    for row in lines[1:]:
        if since > _REPEAT_CHARS:
            made += ["", *head]
            since = 0
        made.append(row)
        since += len(row)
    return "\n".join(made)


def named_rows(rows: Iterable[Row]) -> Iterator[str]:
    """A line for each row, such as `Team: Blues; City: STL`; rows without text are left out.

    Without a row that looks like names of columns, the cells are joined by bars. A long row takes a line for each cell,
    and a blank one after it. The rows are read as they are needed.
    """
    filled = (row for row in map(_trimmed, rows) if row)
    first = list(islice(filled, _HEAD_ROWS))
    at = _head(first)
    for row in first[: max(at, 0)]:
        yield _joined(row) + "\n"
    names = first[at] if at >= 0 else []
    if names and len(first) == at + 1:
        yield _joined(names) + "\n"
    for row in chain(first[at + 1 :], filled):
        yield _row_text(names, row)


def flat(text: str) -> str:
    """A cell's text on one line."""
    return " ".join(text.split())


def _head(rows: Sequence[Row]) -> int:
    """Which row names the columns; -1 when none does."""
    counts = [sum(map(bool, row)) for row in rows]
    for at, row in enumerate(rows):
        width = max(counts[at:])
        if width > 1 and counts[at] >= max(2, _FILLED * width):
            return at if _are_names([cell for cell in row if cell]) else -1
    return -1


def _are_names(cells: Sequence[str]) -> bool:
    return len(set(cells)) == len(cells) and not any(
        len(cell) > _MAX_NAME_CHARS or _NUMBER.fullmatch(cell) for cell in cells
    )


def _row_text(names: Row, row: Row) -> str:
    if row == names:
        return ""  # the head, repeated for print
    if not names or sum(map(bool, row)) == 1 < len(names) - 1:
        return _joined(row) + "\n"
    cells = [f"{names[at]}: {cell}" if at < len(names) and names[at] else cell for at, cell in enumerate(row) if cell]
    text = "; ".join(cells)
    return text + "\n" if len(text) <= _LONG_ROW_CHARS else "\n".join(cells) + "\n\n"


def _joined(row: Row) -> str:
    return " | ".join(filter(None, row))


def _trimmed(row: Row) -> list[str]:
    cells = [flat(cell) for cell in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _markdown_line(row: Row, width: int) -> str:
    cells = [flat(cell).replace("|", "\\|") for cell in row][:width]
    return "| " + " | ".join([*cells, *[""] * (width - len(cells))]) + " |"
