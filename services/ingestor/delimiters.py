"""What separates the columns of a table in plain text."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass

_DELIMITERS = ",;\t|"
_RULE = re.compile(r"[\s|:+-]*--[\s|:+-]*")
"""A line below the head of a Markdown table."""


@dataclass(frozen=True, slots=True)
class Columns:
    """How a text looks when cut at a delimiter: in how many columns, and which share of its rows has that many."""

    delimiter: str
    count: int
    agreement: float
    rows: int


def columns_of(sample: str, *, is_whole: bool) -> Columns | None:
    """The columns that most rows of a sample agree on; None when no delimiter makes two of them.

    The last line is left out unless the sample is the whole text or holds no other.
    """
    lines = [line for line in sample.splitlines() if line.strip()]
    if not is_whole and len(lines) > 1:
        lines.pop()
    found = [_cut(lines, delimiter) for delimiter in _DELIMITERS]
    tables = [columns for columns in found if columns is not None and columns.count > 1]
    return max(tables, key=lambda columns: (columns.agreement, columns.count), default=None)


def is_table(sample: str, *, is_whole: bool) -> bool:
    """Whether a text is a table beyond doubt, whatever its name: every row has the same columns, and there are some."""
    columns = columns_of(sample, is_whole=is_whole)
    if columns is None or columns.agreement < 1 or columns.rows < 3:
        return False
    if any(_RULE.fullmatch(line) for line in sample.splitlines()[:3]):
        return False  # Markdown
    return columns.count > 2 or columns.delimiter == "\t"


def _cut(lines: list[str], delimiter: str) -> Columns | None:
    try:
        rows = [row for row in csv.reader((line + "\n" for line in lines), delimiter=delimiter) if row]
    except csv.Error:
        return None
    if not rows:
        return None
    count, often = Counter(len(row) for row in rows).most_common(1)[0]
    return Columns(delimiter, count, often / len(rows), len(rows))
