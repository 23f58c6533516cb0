"""Writes examples/handbook.pdf from docs/operations/*.md; with --check, exit 1 when the file is stale.

The same text gives the same bytes: no clock, no random ids, and no compression, whose output depends on the library.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from html import escape
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from reportlab import platypus
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import cm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import Flowable, Paragraph, Spacer
from reportlab.platypus.tableofcontents import TableOfContents

ROOT = Path(__file__).parent.parent
CHAPTERS = ROOT / "docs" / "operations"
TARGET = ROOT / "examples" / "handbook.pdf"
TITLE = "ragmesh operations handbook"
SUBTITLE = "How to run, watch and repair a mesh of five services that answers questions from your documents"

_INK = colors.HexColor("#1d2733")
_ACCENT = colors.HexColor("#0b5c7d")
_PALE = colors.HexColor("#eef3f6")
_MARGIN = 1.7 * cm
_WIDTH = A4[0] - 2 * _MARGIN
_CELL_PADDING, _SPACE = 10.0, 3.0


def _style(name: str, size: float, **rest: Any) -> ParagraphStyle:
    settings = {"fontName": "Helvetica", "leading": size * 1.33, "textColor": _INK, **rest}
    return ParagraphStyle(name, fontSize=size, **settings)


_BODY = _style("body", 9, spaceAfter=4.2)
_ITEM = _style("item", 9, leftIndent=16, bulletIndent=3, spaceAfter=2.5)
_CELL = _style("cell", 8)
_HEAD_CELL = _style("head_cell", 8, fontName="Helvetica-Bold")
_CODE = _style(
    "code", 8, fontName="Courier", leading=10.4, backColor=_PALE, borderPadding=5, spaceBefore=5, spaceAfter=10
)
_HEADINGS = {
    1: _style("chapter", 19, fontName="Helvetica-Bold", textColor=_ACCENT, spaceBefore=16, spaceAfter=8),
    2: _style("section", 12.5, fontName="Helvetica-Bold", textColor=_ACCENT, spaceBefore=8, spaceAfter=3.5),
}
_CONTENTS = [_style("contents", 11, spaceBefore=5)]


class Handbook(platypus.BaseDocTemplate):
    """A document whose headings make its table of contents and its outline."""

    def __init__(self, target: io.BytesIO) -> None:
        super().__init__(
            target,
            pagesize=A4,
            title=TITLE,
            author="The ragmesh authors",
            subject=SUBTITLE,
            invariant=1,
            pageCompression=0,
        )
        frame = platypus.Frame(_MARGIN, _MARGIN, _WIDTH, A4[1] - 2 * _MARGIN, 0, 0, 0, 0)
        # Drawn when the page is full, so that whoever reads the text finds the number after it.
        self.addPageTemplates(platypus.PageTemplate("page", [frame], onPageEnd=_number))

    def afterFlowable(self, flowable: Flowable) -> None:  # noqa: N802 - the library's name
        """Note where a heading has come to stand."""
        level = getattr(flowable, "level", 0)
        if level not in (1, 2):
            return
        text, key = flowable.getPlainText(), flowable.key
        self.canv.bookmarkPage(key)
        self.canv.addOutlineEntry(text, key, level - 1, closed=True)
        # Sections are in the outline only: pages of bare titles answer nobody's question.
        if level == 1:
            self.notify("TOCEntry", (0, escape(text), self.page, key))


def _number(canvas: Any, document: Any) -> None:
    if document.page > 1:
        canvas.setFont("Helvetica", 8.5)
        canvas.setFillColor(_INK)
        canvas.drawCentredString(A4[0] / 2, 1.3 * cm, str(document.page))


def render() -> bytes:
    """Return the handbook as a PDF."""
    target = io.BytesIO()
    Handbook(target).multiBuild([*_front(), *_chapters()])
    return target.getvalue()


def _front() -> Iterator[Flowable]:
    yield Spacer(1, 7 * cm)
    yield Paragraph(TITLE, _style("title", 30, fontName="Helvetica-Bold", textColor=_ACCENT, spaceAfter=14))
    yield Paragraph(SUBTITLE, _style("subtitle", 13))
    yield platypus.PageBreak()
    yield Paragraph("Contents", _HEADINGS[1])
    yield TableOfContents(levelStyles=_CONTENTS, dotsMinLevel=-1)
    yield platypus.PageBreak()


def _chapters() -> Iterator[Flowable]:
    parser = MarkdownIt("commonmark").enable("table")
    for number, path in enumerate(sorted(CHAPTERS.glob("[0-9][0-9]-*.md"))):
        if number:
            yield platypus.CondPageBreak(3 * cm)
        for node in SyntaxTreeNode(parser.parse(path.read_text("utf-8"))).children:
            yield from _block(node, f"{path.stem}-{node.map[0] if node.map else 0}")


def _block(node: SyntaxTreeNode, key: str) -> Iterator[Flowable]:
    make = _BLOCKS.get(node.type)
    if make is None:
        message = f"{key}: the handbook has no form for {node.type}"
        raise ValueError(message)
    yield from make(node, key)


def _heading(node: SyntaxTreeNode, key: str) -> Iterator[Flowable]:
    level = int(node.tag[1])
    heading = Paragraph(_inline(node.children[0]), _HEADINGS[level])
    heading.level, heading.key, heading.keepWithNext = level, key, 1
    yield heading


def _paragraph(node: SyntaxTreeNode, _key: str) -> Iterator[Flowable]:
    yield Paragraph(_inline(node.children[0]), _BODY)


def _list(node: SyntaxTreeNode, _key: str) -> Iterator[Flowable]:
    for number, item in enumerate(node.children, 1):
        (paragraph,) = item.children
        bullet = f"{number}." if node.type == "ordered_list" else "–"
        yield Paragraph(_inline(paragraph.children[0]), _ITEM, bulletText=bullet)
    yield Spacer(1, 3)


def _code(node: SyntaxTreeNode, _key: str) -> Iterator[Flowable]:
    yield platypus.Preformatted(node.content.rstrip("\n"), _CODE)


def _table(node: SyntaxTreeNode, _key: str) -> Iterator[Flowable]:
    rows = [row.children for part in node.children for row in part.children]
    cells = [
        [Paragraph(text(_inline(cell.children[0])), style) for cell in row]
        for row, (text, style) in zip(rows, chain([(str, _HEAD_CELL)], repeat((_sentence, _CELL))), strict=False)
    ]
    look = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("BACKGROUND", (0, 0), (-1, 0), _PALE),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, colors.HexColor("#c4d0d8")),
        ("LEFTPADDING", (0, 0), (-1, -1), 4),
        ("RIGHTPADDING", (0, 0), (-1, -1), 4),
    ]
    yield platypus.Table(
        cells, colWidths=_column_widths(rows), style=look, repeatRows=1, spaceBefore=4, spaceAfter=9, hAlign="LEFT"
    )


def _sentence(text: str) -> str:
    # Read as plain text, the cells of a row stand one after the other: a full stop keeps their sentences apart.
    return f"{text}." if text.count(" ") > 1 and not text.endswith((".", ":", "?")) else text


def _column_widths(rows: Sequence[Sequence[SyntaxTreeNode]]) -> list[float]:
    """Share the page's width by the columns' text, but never break a word where that can be helped."""
    columns = [[_words(cell.children[0]) for cell in column] for column in zip(*rows, strict=True)]
    least = [max((width for words in column for width in words), default=0.0) + _CELL_PADDING for column in columns]
    wanted = [max(sum(words) + _SPACE * len(words) for words in column) + _CELL_PADDING for column in columns]
    spare = max(0.0, _WIDTH - sum(least))
    more = [max(0.0, want - low) for want, low in zip(wanted, least, strict=True)]
    share = min(1.0, spare / sum(more)) if sum(more) else 0.0
    return [low + extra * share for low, extra in zip(least, more, strict=True)]


def _words(node: SyntaxTreeNode) -> list[float]:
    """Return the widths of the words of a cell, each in its font."""
    return [
        stringWidth(word, "Courier" if span.type == "code_inline" else "Helvetica-Bold", _CELL.fontSize)
        for span in node.walk()
        for word in span.content.split()
        if span.type in {"text", "code_inline"}
    ]


def _inline(node: SyntaxTreeNode) -> str:
    return "".join(_span(child) for child in node.children)


def _span(node: SyntaxTreeNode) -> str:
    match node.type:
        case "text":
            return escape(node.content, quote=False)
        case "softbreak":
            return " "
        case "code_inline":
            return f'<font face="Courier">{escape(node.content, quote=False)}</font>'
        case "strong":
            return f"<b>{_inline(node)}</b>"
        case "em":
            return f"<i>{_inline(node)}</i>"
        case "link":  # to another page of the repository, where a reader of the PDF is not
            return _inline(node)
    message = f"the handbook has no form for {node.type}"
    raise ValueError(message)


_BLOCKS: dict[str, Callable[[SyntaxTreeNode, str], Iterator[Flowable]]] = {
    "heading": _heading,
    "paragraph": _paragraph,
    "bullet_list": _list,
    "ordered_list": _list,
    "fence": _code,
    "table": _table,
}


def is_fresh() -> bool:
    """Tell whether the checked-in PDF is what the text gives."""
    return TARGET.exists() and TARGET.read_bytes() == render()


def main() -> None:
    """Write the handbook, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the file is stale")
    if parser.parse_args().check:
        if not is_fresh():
            sys.exit("examples/handbook.pdf is stale: run `make examples`")
        return
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(render())
    print(f"wrote {TARGET.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
