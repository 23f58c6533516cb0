"""Which module reads which media type."""

from __future__ import annotations

from collections.abc import Mapping

from services.ingestor.media_types import (
    CSV,
    DOCX,
    EML,
    EPUB,
    HTML,
    JSON,
    JSON_LINES,
    MARKDOWN,
    OLE,
    PDF,
    PPTX,
    TEXT,
    TSV,
    XLSX,
    XML,
    ZIP,
)

READERS: Mapping[str, str] = {
    PDF: "pdf",
    TEXT: "text",
    MARKDOWN: "markdown",
    HTML: "html",
    XML: "xml",
    CSV: "csv",
    TSV: "csv",
    JSON: "json",
    JSON_LINES: "json",
    EML: "eml",
    # All of them are ZIP archives; what is inside decides.
    ZIP: "zipped",
    EPUB: "zipped",
    DOCX: "zipped",
    PPTX: "zipped",
    XLSX: "zipped",
    OLE: "ole",
}
"""Media type -> module of this package with `read(path) -> Iterator[Opening | Page]`."""
