"""What a file is, by its first bytes; its name only breaks ties between kinds of text."""

from __future__ import annotations

import codecs
import re
from pathlib import PurePath

from rag.runtime.errors import InvalidInput
from services.ingestor.media_types import EPUB, HTML, MARKDOWN, OLE, PDF, TEXT, ZIP
from services.ingestor.signatures import BINARY, Kind, is_noise, signature, unsupported
from services.ingestor.text_types import TEXT_NAMES, text_type

__all__ = ["HEAD_BYTES", "HTML", "MARKDOWN", "PDF", "TEXT", "media_type_of", "wide_encoding"]

HEAD_BYTES = 4096
"""How many of the first bytes decide."""

_ZIP_MARKS = (b"PK\x03\x04", b"PK\x05\x06")
_OLE_MARK = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_EPUB_MARK = b"mimetypeapplication/epub+zip"
_LATE_PDF = re.compile(rb"(?:^|[\r\n\x00-\x20])%PDF-\d", re.DOTALL)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def media_type_of(head: bytes, name: str) -> str:
    """The media type of a file that begins with `head` (its first `HEAD_BYTES`, or all of it).

    A ZIP or OLE file shows what is inside only when it is opened: its reader finds the true type, or refuses it.

    Raises `InvalidInput` EMPTY_FILE for no bytes, and UNSUPPORTED_TYPE, naming what the file is, for a type that has
    no reader.
    """
    if not head:
        raise InvalidInput("The file is empty.", reason="EMPTY_FILE")
    suffix = PurePath(name).suffix.lower()
    if _is_pdf(head, suffix):
        return PDF
    if head.startswith(_ZIP_MARKS):
        return EPUB if _EPUB_MARK in head[:128] else ZIP
    if head.startswith(_OLE_MARK):
        return OLE
    kind = _binary_kind(head)
    if kind:
        raise unsupported(kind)
    return text_type(_decoded(head), suffix, is_whole=len(head) < HEAD_BYTES)


def wide_encoding(head: bytes) -> str:
    """The encoding told by a byte order mark or by where the NUL bytes lie; empty when neither tells."""
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if not even and not odd:
        return ""
    half = max(1, len(head) // 2)
    if odd / half > 0.3 and even / half < 0.05:
        return "utf-16-le"
    return "utf-16-be" if even / half > 0.3 and odd / half < 0.05 else ""


def _is_pdf(head: bytes, suffix: str) -> bool:
    if head.startswith(b"%PDF-"):
        return True
    # Readers accept a header anywhere in the first 1,024 bytes; a text about PDF may show one there, too.
    return suffix not in TEXT_NAMES and not signature(head) and _LATE_PDF.search(head[:1024]) is not None


def _binary_kind(head: bytes) -> Kind | None:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return None  # an audio file may begin with nearly the same two bytes
    kind = signature(head)
    if kind or wide_encoding(head):
        return kind
    return BINARY if is_noise(head) else None


def _decoded(head: bytes) -> str:
    return head.decode(wide_encoding(head) or "utf-8", errors="replace").lstrip("\ufeff")
