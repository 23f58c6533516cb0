"""Reads what comes as a ZIP archive: Office documents and e-books. What is inside decides, whatever the name."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from services.ingestor.media_types import DOCX, EPUB, PPTX, XLSX
from services.ingestor.pages import Opening, Page
from services.ingestor.readers import archive, docx, epub, pptx, xlsx
from services.ingestor.signatures import ZIP_ARCHIVE, Kind, unsupported

_READERS: dict[str, ModuleType] = {DOCX: docx, PPTX: pptx, XLSX: xlsx, EPUB: epub}
_MAIN_PARTS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    # Templates, slide shows and documents with macros hold the same text.
    (re.compile(rb"wordprocessingml\.(?:document|template)\.main\+xml|ms-word\.\w+\.macroEnabled"), DOCX),
    (re.compile(rb"presentationml\.(?:presentation|template|slideshow)\.main\+xml|ms-powerpoint\.\w+\.macro"), PPTX),
    (re.compile(rb"spreadsheetml\.(?:sheet|template)\.main\+xml|ms-excel\.(?:sheet|template)\.macroEnabled"), XLSX),
)
_SAVE = "save it as .docx, .xlsx, .pptx or PDF"
_BINARY_WORKBOOK = "xl/workbook.bin"
_OTHERS: tuple[tuple[str, Kind], ...] = (
    (_BINARY_WORKBOOK, Kind("a binary Excel workbook (.xlsb)", "save it as .xlsx")),
    ("visio/document.xml", Kind("a Visio drawing", "save it as PDF")),
    ("Index/Document.iwa", Kind("an Apple iWork document", _SAVE)),
    ("AndroidManifest.xml", Kind("an Android app", "send its texts")),
    ("META-INF/MANIFEST.MF", Kind("a Java archive", "unpack it and send the files inside")),
    ("doc.kml", Kind("a map (.kmz)", "unpack it and send the .kml as .xml")),
)
_OPEN_DOCUMENT = b"application/vnd.oasis.opendocument"


def read(path: Path) -> Iterator[Opening | Page]:
    """Yield what the reader of the true type yields, and say that type in the opening.

    Raises:
        InvalidInput: UNSUPPORTED_TYPE, ARCHIVE_* or what the reader of the type raises.
    """
    with archive.opened(path) as document:
        media_type = _type_of(document)
    for item in _READERS[media_type].read(path):
        yield replace(item, media_type=media_type) if isinstance(item, Opening) else item


def _type_of(document: zipfile.ZipFile) -> str:
    names = document.NameToInfo
    types = archive.member(document, "[Content_Types].xml")
    for pattern, media_type in _MAIN_PARTS:
        if pattern.search(types) and _BINARY_WORKBOOK not in names:
            return media_type
    mark = archive.member(document, "mimetype", 1_000).strip() if "mimetype" in names else b""
    if mark == EPUB.encode() or "META-INF/container.xml" in names:
        return EPUB
    raise unsupported(_refused(document, mark, types))


def _refused(document: zipfile.ZipFile, mark: bytes, types: bytes) -> Kind:
    if mark.startswith(_OPEN_DOCUMENT):
        return Kind("an OpenDocument file", _SAVE)
    for name, kind in _OTHERS:
        if name in document.NameToInfo:
            return kind
    return Kind("an Office document of another kind", _SAVE) if types else ZIP_ARCHIVE
