"""Turns the body of a Word document into Markdown, block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from docx.oxml.ns import qn

from services.ingestor.readers import tables
from services.ingestor.readers.about import heading
from services.ingestor.readers.docx_styles import Item, Styles

_P, _TBL, _TR, _TC = qn("w:p"), qn("w:tbl"), qn("w:tr"), qn("w:tc")
_TEXT = {qn("w:t"), "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"}
_CHARS = {qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
# Deleted and moved text, the settings of a paragraph, ruby above a word, and what repeats another element.
_SKIPPED = {_FALLBACK, *map(qn, ("w:del", "w:moveFrom", "w:pPr", "w:rPr", "w:rt", "w:sdtPr", "w:tblPr", "w:sectPr"))}
_BOX = qn("w:txbxContent")
_INDENT = "  "


class Body:
    """Walks a document once; it remembers how far its lists have counted."""

    def __init__(self, styles: Styles) -> None:
        self._styles = styles
        self._counts: Counter[tuple[str, int]] = Counter()

    def text(self, blocks: Iterable[Any]) -> Iterator[str]:
        """The text of these elements in pieces: items of a list below each other, a blank line between all else."""
        in_list = False
        for text, is_item in self._blocks(blocks):
            if not text.strip():
                continue
            if in_list and not is_item:
                yield "\n"
            yield text + ("\n" if is_item else "\n\n")
            in_list = is_item
        if in_list:
            yield "\n"

    def _blocks(self, elements: Iterable[Any]) -> Iterator[tuple[str, bool]]:
        for element in elements:
            if element.tag == _P:
                yield self._paragraph(element)
                for box in _boxes(element):
                    yield from self._blocks(box)
            elif element.tag == _TBL:
                yield from self._table(element)
            elif element.tag not in _SKIPPED and isinstance(element.tag, str):
                yield from self._blocks(element)  # content controls, insertions, and whatever else wraps blocks

    def _paragraph(self, paragraph: Any) -> tuple[str, bool]:
        text = "".join(_pieces(paragraph)).strip()
        depth = self._styles.depth(paragraph)
        if depth and text:
            return heading(depth, text), False
        item = self._styles.item(paragraph)
        return (f"{self._mark(item)} {text}", True) if item and text else (text, False)

    def _mark(self, item: Item) -> str:
        indent = _INDENT * item.level
        if not item.numbering:
            return indent + "-"
        self._counts[item.numbering, item.level] += 1
        for level in range(item.level + 1, 9):
            self._counts.pop((item.numbering, level), None)
        return f"{indent}{self._counts[item.numbering, item.level]}."

    def _table(self, table: Any) -> Iterator[tuple[str, bool]]:
        rows = [list(_cells(row)) for row in _inside(table, _TR)]
        if max((len(row) for row in rows), default=0) <= 1:
            # A frame around text, not a table.
            for row in rows:
                for cell in row:
                    yield from self._blocks(cell if cell is not None else ())
            return
        yield tables.markdown([[self._cell(cell) for cell in row] for row in rows]), False

    def _cell(self, cell: Any) -> str:
        """The text of a cell on one line; of a table inside it, its cells."""
        if cell is None:
            return ""
        texts = []
        for element in _inside(cell, _P, _TBL):
            if element.tag == _P:
                texts += [self._paragraph(element)[0].lstrip("# "), *(self._cell(box) for box in _boxes(element))]
            else:
                rows = ([self._cell(inner) for inner in _cells(row)] for row in _inside(element, _TR))
                texts.append("; ".join(", ".join(filter(None, row)) for row in rows))
        return " ".join(filter(None, texts))


def _cells(row: Any) -> Iterator[Any]:
    """The cells of a row; None for those that a merged one covers, so that columns keep their places."""
    for cell in _inside(row, _TC):
        properties = cell.find(qn("w:tcPr"))
        merge = properties.find(qn("w:vMerge")) if properties is not None else None
        yield None if merge is not None and merge.get(qn("w:val"), "continue") == "continue" else cell
        span = properties.find(qn("w:gridSpan")) if properties is not None else None
        yield from [None] * (min(int(span.get(qn("w:val"), "1")), 64) - 1 if span is not None else 0)


def _inside(element: Any, *tags: str) -> Iterator[Any]:
    """The nearest elements of these kinds below one, through what only wraps them."""
    for child in element:
        if child.tag in tags:
            yield child
        elif child.tag not in _SKIPPED and isinstance(child.tag, str):
            yield from _inside(child, *tags)


def _boxes(paragraph: Any) -> Iterator[Any]:
    """The text boxes anchored in a paragraph; one in another comes with that one."""
    for child in paragraph:
        if child.tag == _BOX:
            yield child
        elif child.tag not in _SKIPPED and isinstance(child.tag, str):
            yield from _boxes(child)


def _pieces(element: Any) -> Iterator[str]:
    for child in element:
        if child.tag in _TEXT:
            yield child.text or ""
        elif child.tag in _CHARS:
            yield _CHARS[child.tag]
        elif child.tag not in _SKIPPED and child.tag != _BOX and isinstance(child.tag, str):
            yield from _pieces(child)
