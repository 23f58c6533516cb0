"""Reads Word documents with python-docx: headings, lists and tables as Markdown, in the order of the document."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docx
from docx.document import Document
from docx.oxml.parser import parse_xml

from services.ingestor.pages import Opening, Page
from services.ingestor.readers import archive
from services.ingestor.readers.about import line
from services.ingestor.readers.core_properties import about
from services.ingestor.readers.docx_body import Body
from services.ingestor.readers.docx_styles import Styles
from services.ingestor.readers.faults import named
from services.ingestor.readers.parts import clean, parts

_OTHER_MAIN = re.compile(rb"application/vnd\.[\w.-]*word[\w.-]*?(?:\.main\+xml|macroEnabledTemplate[\w.+]*)")
_MAIN = b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
_NOTES = ("word/footnotes.xml", "word/endnotes.xml")


def read(path: Path) -> Iterator[Opening | Page]:
    """Yield the title and the text as one document without pages: where its pages break is known to Word alone.

    Raises:
        InvalidInput: DOCX_DAMAGED, ARCHIVE_*, XML_ENTITIES.
    """
    with archive.opened(path) as package, named("DOCX_DAMAGED", "The Word document is damaged and cannot be read."):
        document = docx.Document(archive.xml_only(package, lambda types: _OTHER_MAIN.sub(_MAIN, types)))
        styles = Styles(document)
        title, metadata = about(package)
        yield Opening(title=title or line(styles.title_in(document.element.body)), metadata=metadata)
        yield from parts(0, map(clean, _text(document, styles, package)))


def _text(document: Document, styles: Styles, package: zipfile.ZipFile) -> Iterator[str]:
    body = Body(styles)
    yield from body.text(document.element.body)
    for name in _NOTES:
        content = archive.member(package, name)
        if content:
            yield from body.text(_real_notes(parse_xml(content)))


def _real_notes(notes: Any) -> Iterator[Any]:
    """The paragraphs of the notes, without the lines that separate them from the page."""
    for note in notes:
        if not any(key.endswith("}type") for key in note.attrib):
            yield from note
