"""Turns a tree of HTML into Markdown: all of its text, with headings, lists, tables and code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lxml import etree

from services.ingestor.readers import tables
from services.ingestor.readers.about import heading

_SILENT = frozenset({
    "script", "style", "noscript", "template", "head", "svg", "math", "iframe", "object", "button", "select", "option", "textarea",
    "rt", "rp", "nav",
})  # fmt: skip
_BLOCKS = {
    "address", "article", "aside", "blockquote", "body", "center", "dd", "details", "dialog", "div", "dl", "dt", "fieldset",
    "figcaption", "figure", "footer", "form", "header", "hgroup", "hr", "html", "li", "main", "ol", "p", "section", "summary", "ul",
    "caption", "tr", "td", "th", "tbody", "thead", "tfoot", "table", "pre", "h1", "h2", "h3", "h4", "h5", "h6",
}  # fmt: skip
_HEADINGS = {f"h{depth}": depth for depth in range(1, 7)}
_BLANK = re.compile(r"\n\s*\n+")
_TIGHT = re.compile(r"\n\s*\n")
_SPACES = re.compile(r"[^\S\n]+")
_EMPHASIS = ("b", "strong", "i", "em", "u", "font", "mark", "small", "big", "ins", "sup", "sub")
_MAX_DEPTH = 120


def markdown(tree: Any, without: frozenset[str] = frozenset()) -> str:
    """The text of a tree, leaving out elements of some names; tags may be in any namespace."""
    return tidy("".join(_Writer(_SILENT | without).pieces(tree)))


def tidy(text: str) -> str:
    """Markdown without white space that means nothing."""
    return _BLANK.sub("\n\n", "\n".join(_lines(text))).strip("\n")


def unframed(tree: Any) -> Any:
    """The tree, with the tables that only frame text as plain blocks, and without marks of emphasis."""
    for table in list(tree.iter("table")):
        rows = _cells(table)
        if _is_frame(rows):
            for element in [table, *_rows(table), *(cell for row in rows for cell in row)]:
                element.tag = "div"
    etree.strip_tags(tree, *_EMPHASIS)
    return tree


def tag_of(element: Any) -> str:
    """The name of an element without its namespace, in lower case; empty for comments."""
    return element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""


class _Writer:
    """Writes a tree; `level` counts the lists around an element, `depth` the elements."""

    def __init__(self, silent: frozenset[str]) -> None:
        self._silent = silent

    def pieces(self, element: Any, level: int = 0, depth: int = 0) -> Iterator[str]:
        """The element in pieces, blank lines around blocks."""
        tag = tag_of(element)
        if depth > _MAX_DEPTH:
            yield self._flat(element)
        elif tag in _HEADINGS:
            text = self._flat(element)
            yield f"\n\n{heading(_HEADINGS[tag], text)}\n\n" if text else ""
        elif tag == "pre":
            yield f"\n\n```\n{''.join(element.itertext()).strip(chr(10))}\n```\n\n"
        elif tag == "table":
            yield from self._table(element, level, depth)
        elif tag == "li":
            text = _TIGHT.sub("\n", "".join(self._children(element, level, depth, "")).strip())
            yield f"\n{'  ' * max(level - 1, 0)}- {text}\n" if text else ""
        elif tag == "br":
            yield "\n"
        elif tag and tag not in self._silent:
            yield from self._children(element, level + (tag in {"ul", "ol"}), depth, _edge(tag, level))

    def _children(self, element: Any, level: int, depth: int, edge: str) -> Iterator[str]:
        yield edge
        yield _spaced(element.text)
        for child in element:
            yield from self.pieces(child, level, depth + 1)
            yield _spaced(child.tail)
        yield edge

    def _table(self, table: Any, level: int, depth: int) -> Iterator[str]:
        rows = _cells(table)
        if _is_frame(rows):
            yield from self._children(table, level, depth, "\n\n")
            return
        caption = next((self._flat(child) for child in table if tag_of(child) == "caption"), "")
        text = tables.markdown([[self._flat(cell) for cell in row] for row in rows])
        yield f"\n\n{caption}\n\n{text}\n\n" if caption else f"\n\n{text}\n\n"

    def _flat(self, element: Any) -> str:
        return tables.flat("".join(self._texts(element, 0)))

    def _texts(self, element: Any, depth: int) -> Iterator[str]:
        """The text inside an element, a space where a block begins or ends."""
        yield element.text or ""
        for child in element:
            tag = tag_of(child)
            edge = " " if tag in _BLOCKS or tag == "br" else ""
            if tag and tag not in self._silent and depth < _MAX_DEPTH:
                yield edge
                yield from self._texts(child, depth + 1)
            yield edge + (child.tail or "")


def _edge(tag: str, level: int) -> str:
    if tag not in _BLOCKS:
        return ""
    return "\n" if level else "\n\n"


def _cells(table: Any) -> list[list[Any]]:
    return [[cell for cell in row if tag_of(cell) in {"td", "th"}] for row in _rows(table)]


def _is_frame(rows: list[list[Any]]) -> bool:
    """Whether a table of these cells is a frame around text: one cell wide, or with tables inside."""
    nested = any(tag_of(inner) == "table" for row in rows for cell in row for inner in cell.iterdescendants())
    return nested or max((len(row) for row in rows), default=0) <= 1


def _rows(table: Any) -> Iterator[Any]:
    for child in table:
        if tag_of(child) == "tr":
            yield child
        elif tag_of(child) in {"thead", "tbody", "tfoot"}:
            yield from _rows(child)


def _lines(source: str) -> Iterator[str]:
    """The lines without white space around them, except for items of lists and code."""
    is_code = False
    for line in source.split("\n"):
        is_code ^= line.startswith("```")
        if is_code:
            yield line.rstrip()
        else:
            text = _SPACES.sub(" ", line.strip())
            yield line[: len(line) - len(line.lstrip())] + text if text.startswith("- ") else text


def _spaced(text: str | None) -> str:
    """White space in markup means one space."""
    return _SPACES.sub(" ", text.replace("\n", " ")) if text else ""
