"""Reads PowerPoint presentations with python-pptx, slide by slide."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pptx
from pptx.oxml import parse_xml

from services.ingestor.pages import Opening, Page
from services.ingestor.readers import archive, tables
from services.ingestor.readers.about import heading, line
from services.ingestor.readers.core_properties import about
from services.ingestor.readers.faults import named
from services.ingestor.readers.parts import clean, parts

_OTHER_MAIN = re.compile(
    rb"application/vnd\.(?:openxmlformats-officedocument\.presentationml\.(?:template|slideshow)"
    rb"|ms-powerpoint\.\w+\.macroEnabled(?:\.12)?)\.main\+xml"
)
_MAIN = b"application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_DIAGRAM = "http://schemas.openxmlformats.org/drawingml/2006/diagram"
_RELATIONSHIP = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}dm"
# The date, the footer and the number of a slide are on all of them.
_BOILERPLATE = {13, 15, 16}
_MAX_GROUPS = 50


def read(path: Path) -> Iterator[Opening | Page]:
    """Yield the title, then the slides: their titles as headings, text, tables and diagrams, and the speaker's notes.

    Raises:
        InvalidInput: PPTX_DAMAGED, ARCHIVE_*, XML_ENTITIES.
    """
    with archive.opened(path) as package, named("PPTX_DAMAGED", "The presentation is damaged and cannot be read."):
        deck = pptx.Presentation(archive.xml_only(package, lambda types: _OTHER_MAIN.sub(_MAIN, types)))
        slides = list(deck.slides)
        title, metadata = about(package)
        yield Opening(len(slides), title or _title(slides), metadata)
        for number, slide in enumerate(slides, 1):
            yield from parts(number, [clean("\n\n".join(_blocks(slide)))])


def _blocks(slide: Any) -> Iterator[str]:
    title = slide.shapes.title
    if title is not None and title.text_frame.text.strip():
        yield heading(1, title.text_frame.text)
    for shape in sorted(slide.shapes, key=_place):
        if title is None or shape.shape_id != title.shape_id:
            yield from filter(None, _texts(shape, 0))
    notes = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    if notes is not None and notes.text.strip():
        yield f"Notes:\n{_lines(notes)}"


def _place(shape: Any) -> tuple[int, int]:
    return shape.top or 0, shape.left or 0


def _texts(shape: Any, depth: int) -> Iterator[str]:
    if shape.is_placeholder and shape.placeholder_format.type in _BOILERPLATE:
        return
    if hasattr(shape, "shapes"):
        if depth < _MAX_GROUPS:
            for inner in sorted(shape.shapes, key=_place):
                yield from _texts(inner, depth + 1)
    elif shape.has_text_frame:
        yield _lines(shape.text_frame)
    elif getattr(shape, "has_table", False):
        yield tables.markdown([[cell.text_frame.text for cell in row.cells] for row in shape.table.rows])
    elif getattr(shape, "has_chart", False):
        yield _chart(shape.chart)
    else:
        yield _diagram(shape)


def _lines(frame: Any) -> str:
    """The paragraphs, those below the first level as items of a list."""
    lines = []
    for paragraph in frame.paragraphs:
        text = paragraph.text.replace("\v", "\n").strip()
        if text:
            lines.append("  " * (paragraph.level - 1) + f"- {text}" if paragraph.level else text)
    return "\n".join(lines)


def _chart(chart: Any) -> str:
    title = line(chart.chart_title.text_frame.text) if chart.has_title and chart.chart_title.has_text_frame else ""
    plot = next(iter(chart.plots), None)
    if plot is None:
        return title
    rows = [["", *(line(series.name) for series in plot.series)]]
    values = [list(series.values) for series in plot.series]
    for at, category in enumerate(plot.categories):
        rows.append([line(category), *(str(column[at]) if at < len(column) else "" for column in values)])
    return "\n\n".join(filter(None, (title, tables.markdown(rows))))


def _diagram(shape: Any) -> str:
    """The texts of a SmartArt drawing, which lie in a part of their own."""
    texts = []
    for ids in shape._element.iter(f"{{{_DIAGRAM}}}relIds"):  # noqa: SLF001 - python-pptx has no other way in
        part = shape.part.related_part(ids.get(_RELATIONSHIP))
        tree = parse_xml(part.blob)
        paragraphs = tree.iter(f"{_A}p")
        texts += ["".join(run.text or "" for run in paragraph.iter(f"{_A}t")).strip() for paragraph in paragraphs]
    return "\n".join(filter(None, texts))


def _title(slides: list[Any]) -> str:
    first = slides[0].shapes.title if slides else None
    return line(first.text_frame.text) if first is not None else ""
