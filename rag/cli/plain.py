"""Text that is safe to show in a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size

GAP = 2
"""The columns of white space between two columns of a table."""
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def plain(text: str) -> str:
    """Return text of a document or a model without what a terminal would obey: escape sequences begin with a control.

    Surrogates go too: they stand for bytes of a file's name that are no text, and cannot be printed.
    """
    return _CONTROLS.sub("\ufffd", text)


def line(text: str) -> str:
    """Return text of a document, a file's name or a server as one line that can be shown: see `plain`."""
    return " ".join(plain(text).split())


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows as whole lines for a pipe: their cells stand below each other, and nothing hangs at the ends."""
    widths = widest(rows)
    for row in rows:
        padded = (set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True))
        yield (" " * GAP).join(padded).rstrip()


def widest(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return how wide the widest cell of each column is, as a terminal shows it."""
    return [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]
