"""What the styles of a Word document say of its paragraphs: which are headings, which are items of lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docx.document import Document
from docx.oxml.ns import qn

_HEADING = re.compile(r"heading ([1-9])")
_LIST = re.compile(r"list (bullet|number)(?: ([2-5]))?")
_DEEPEST = 6
_MAX_BASES = 20
_TITLE_BLOCKS = 10
"""Among how many first paragraphs a title is looked for."""


@dataclass(frozen=True, slots=True)
class Item:
    """A paragraph of a list: how deep it is indented, from 0, and the list it counts in; none for a bullet."""

    level: int
    numbering: str = ""


class Styles:
    """The roles of paragraphs. Style names are English in every file; their ids are not."""

    def __init__(self, document: Document) -> None:
        self._names: dict[str, str] = {}
        self._bases: dict[str, str] = {}
        self._elements: dict[str, Any] = {}
        for style in document.styles.element.iter(qn("w:style")):
            key = style.get(qn("w:styleId"), "")
            self._names[key] = _value(style, "w:name").lower()
            self._bases[key] = _value(style, "w:basedOn")
            self._elements[key] = style
        self._formats = _formats(document)
        self._has_title = False

    def depth(self, paragraph: Any) -> int:
        """The depth of a heading, from 1; 0 for a paragraph that is none."""
        for key in self._chain(paragraph):
            name = self._names.get(key, "")
            found = _HEADING.fullmatch(name)
            if found:
                return min(int(found[1]) + self._has_title, _DEEPEST)
            if name == "title":
                self._has_title = True
                return 1
        return self._outline(paragraph)

    def item(self, paragraph: Any) -> Item | None:
        """The place of an item in its list; None for a paragraph that is none."""
        for properties in self._properties(paragraph):
            numbering = properties.find(qn("w:numPr"))
            if numbering is not None:
                number, level = _value(numbering, "w:numId"), int(_value(numbering, "w:ilvl") or 0)
                if number in {"", "0"}:
                    return None
                counts = self._formats.get((number, level), "bullet") not in {"bullet", "none"}
                return Item(min(level, 8), number if counts else "")
        for key in self._chain(paragraph):
            found = _LIST.fullmatch(self._names.get(key, ""))
            if found:
                return Item(int(found[2] or 1) - 1, "style" if found[1] == "number" else "")
        return None

    def title_in(self, body: Any) -> str:
        """The text of the first paragraph that is a title or, near the top, a heading of depth 1."""
        first = ""
        for at, paragraph in enumerate(body.iter(qn("w:p"))):
            if at >= _TITLE_BLOCKS:
                break
            names = [self._names.get(key, "") for key in self._chain(paragraph)]
            text = "".join(piece.text or "" for piece in paragraph.iter(qn("w:t"))).strip()
            if "title" in names and text:
                return text
            first = first or (text if "heading 1" in names else "")
        return first

    def _chain(self, paragraph: Any) -> Iterator[str]:
        """The ids of the paragraph's style and of those it is based on."""
        properties = paragraph.find(qn("w:pPr"))
        key = _value(properties, "w:pStyle") if properties is not None else ""
        for _ in range(_MAX_BASES):
            if not key:
                return
            yield key
            key = self._bases.get(key, "")

    def _properties(self, paragraph: Any) -> Iterator[Any]:
        own = paragraph.find(qn("w:pPr"))
        if own is not None:
            yield own
        for key in self._chain(paragraph):
            style = self._elements.get(key)
            found = style.find(qn("w:pPr")) if style is not None else None
            if found is not None:
                yield found

    def _outline(self, paragraph: Any) -> int:
        for properties in self._properties(paragraph):
            level = _value(properties, "w:outlineLvl")
            if level:
                return min(int(level) + 1, _DEEPEST) if int(level) < 9 else 0
        return 0


def _formats(document: Document) -> dict[tuple[str, int], str]:
    """How each level of each list counts, by the list's id and the level."""
    try:
        root = document.part.numbering_part.element
    except (KeyError, NotImplementedError):
        return {}
    abstract = {
        element.get(qn("w:abstractNumId"), ""): {
            int(level.get(qn("w:ilvl"), "0")): _value(level, "w:numFmt") for level in element.findall(qn("w:lvl"))
        }
        for element in root.findall(qn("w:abstractNum"))
    }
    return {
        (number.get(qn("w:numId"), ""), level): kind
        for number in root.findall(qn("w:num"))
        for level, kind in abstract.get(_value(number, "w:abstractNumId"), {}).items()
    }


def _value(element: Any, tag: str) -> str:
    found = element.find(qn(tag))
    return str(found.get(qn("w:val"), "")) if found is not None else ""
