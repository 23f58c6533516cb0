"""What a file is, by its first bytes; its name only breaks ties between kinds of text."""

from __future__ import annotations

import codecs
import re
from pathlib import PurePath

from rag.runtime.errors import InvalidInput

PDF = "application/pdf"
TEXT = "text/plain"
MARKDOWN = "text/markdown"
HTML = "text/html"

HEAD_BYTES = 4096
"""How many of the first bytes decide."""

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of an old Office version"),
    (b"{\\rtf", "an RTF document"),
    (b"%!PS", "a PostScript document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"(\xb5/\xfd", "a zstd archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"ID3\x03", "an audio file"),
    (b"ID3\x04", "an audio file"),
    (b"OggS\x00", "an audio or video file"),
    (b"fLaC", "an audio file"),
)
_ZIP_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"word/", "a Word document"),
    (b"xl/", "an Excel workbook"),
    (b"ppt/", "a PowerPoint presentation"),
    (b"application/epub+zip", "an EPUB book"),
    (b"application/vnd.oasis.opendocument", "an OpenDocument file"),
    (b"[Content_Types].xml", "an Office document"),
)
_LATE_PDF = re.compile(rb"(?:^|[\r\n\x00-\x20])%PDF-\d", re.DOTALL)
_HTML = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body|title)\b", re.IGNORECASE | re.DOTALL
)
_MARKDOWN = re.compile(r"^(?:#{1,6} \S|```|\[[^\]\n]+\]: \S|.*\[[^\]\n]+\]\([^)\s]+\))", re.MULTILINE)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MARKDOWN_NAMES = {".md", ".markdown", ".mdown"}
_HTML_NAMES = {".html", ".htm", ".xhtml"}
_TEXT_NAMES = _MARKDOWN_NAMES | _HTML_NAMES | {".txt", ".text", ".rst", ".log", ".csv"}


def media_type_of(head: bytes, name: str) -> str:
    """The media type of a file that begins with `head` (its first `HEAD_BYTES`, or all of it).

    Raises `InvalidInput` EMPTY_FILE for no bytes, and UNSUPPORTED_TYPE, naming what the file is, for a type that has
    no reader.
    """
    if not head:
        raise InvalidInput("The file is empty.", reason="EMPTY_FILE")
    suffix = PurePath(name).suffix.lower()
    if _is_pdf(head, suffix):
        return PDF
    kind = _binary_kind(head)
    if kind:
        message = f"The file is {kind}, which cannot be indexed; PDF, plain text, Markdown and HTML can."
        raise InvalidInput(message, reason="UNSUPPORTED_TYPE", found=kind)
    return _text_type(_decoded(head), suffix)


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
    return suffix not in _TEXT_NAMES and not _signature(head) and _LATE_PDF.search(head[:1024]) is not None


def _signature(head: bytes) -> str:
    return next((kind for mark, kind in _SIGNATURES if head.startswith(mark)), "")


def _binary_kind(head: bytes) -> str:
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return next((kind for mark, kind in _ZIP_KINDS if mark in head), "a ZIP archive")
    if head[:4] == b"RIFF" and head[8:12] in {b"WEBP", b"WAVE", b"AVI "}:
        return "an image, audio or video file"
    if head[4:8] == b"ftyp":
        return "a video file"
    kind = _signature(head)
    if kind or wide_encoding(head):
        return kind
    # Text in a byte encoding holds no NUL and hardly a control character.
    controls = sum(byte < 0x20 and byte not in b"\t\n\f\r\x1b" for byte in head)
    return "binary data" if b"\x00" in head or controls * 20 > len(head) else ""


def _decoded(head: bytes) -> str:
    return head.decode(wide_encoding(head) or "utf-8", errors="replace")


def _text_type(text: str, suffix: str) -> str:
    if _HTML.match(text.lstrip("\ufeff")) or (suffix in _HTML_NAMES and text.lstrip("\ufeff").lstrip().startswith("<")):
        return HTML
    if suffix in _MARKDOWN_NAMES or (suffix != ".txt" and len(_MARKDOWN.findall(text)) >= 2):
        return MARKDOWN
    return TEXT
