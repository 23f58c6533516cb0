"""Files that are no text: what their first bytes say they are, and what would help."""

from __future__ import annotations

from dataclasses import dataclass

from rag.runtime.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file that cannot be indexed: `name` with its article, and what its owner can do."""

    name: str
    help: str


_OCR = "it needs text recognition (OCR) first"
_UNPACK = "unpack it and send the files inside"
_TRANSCRIBE = "transcribe it first"
_CONVERT = "save it as PDF or plain text"
_ANY = "PDF, Office documents, e-mails, e-books, web pages, tables, JSON and text can"

BINARY = Kind("binary data", _ANY)
ZIP_ARCHIVE = Kind("a ZIP archive", _UNPACK)

_SIGNATURES: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89PNG\r\n\x1a\n", Kind("a PNG image", _OCR)),
    (b"\xff\xd8\xff", Kind("a JPEG image", _OCR)),
    (b"GIF87a", Kind("a GIF image", _OCR)),
    (b"GIF89a", Kind("a GIF image", _OCR)),
    (b"II*\x00", Kind("a TIFF image", _OCR)),
    (b"MM\x00*", Kind("a TIFF image", _OCR)),
    (b"8BPS\x00", Kind("a Photoshop image", _OCR)),
    (b"\x00\x00\x01\x00", Kind("an icon", _OCR)),
    (b"{\\rtf", Kind("an RTF document", "save it as .docx or PDF")),
    (b"%!PS", Kind("a PostScript document", "convert it to PDF")),
    (b"AT&TFORM", Kind("a DjVu document", "convert it to PDF with text")),
    (b"!BDN", Kind("an Outlook mailbox (.pst)", "save its messages as .eml")),
    (b"\x1f\x8b", Kind("a gzip archive", _UNPACK)),
    (b"BZh", Kind("a bzip2 archive", _UNPACK)),
    (b"\xfd7zXZ\x00", Kind("an xz archive", _UNPACK)),
    (b"(\xb5/\xfd", Kind("a zstd archive", _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Kind("a 7-Zip archive", _UNPACK)),
    (b"Rar!\x1a\x07", Kind("a RAR archive", _UNPACK)),
    (b"MSCF\x00", Kind("a Cabinet archive", _UNPACK)),
    (b"\x7fELF", Kind("a program", _ANY)),
    (b"\xca\xfe\xba\xbe", Kind("a program", _ANY)),
    (b"\x00asm", Kind("a program", _ANY)),
    (b"SQLite format 3\x00", Kind("an SQLite database", "export its tables as CSV")),
    (b"PAR1", Kind("a Parquet file", "export it as CSV or JSON lines")),
    (b"Obj\x01", Kind("an Avro file", "export it as JSON lines")),
    (b"ID3\x02", Kind("an audio file", _TRANSCRIBE)),
    (b"ID3\x03", Kind("an audio file", _TRANSCRIBE)),
    (b"ID3\x04", Kind("an audio file", _TRANSCRIBE)),
    (b"\xff\xfb", Kind("an audio file", _TRANSCRIBE)),
    (b"OggS\x00", Kind("an audio or video file", _TRANSCRIBE)),
    (b"fLaC", Kind("an audio file", _TRANSCRIBE)),
    (b"MThd\x00", Kind("a MIDI file", _ANY)),
    (b"\x1aE\xdf\xa3", Kind("a video file", _TRANSCRIBE)),
    (b"wOF2", Kind("a font", _ANY)),
    (b"OTTO\x00", Kind("a font", _ANY)),
)
_RIFF = {
    b"WEBP": Kind("a WebP image", _OCR),
    b"WAVE": Kind("an audio file", _TRANSCRIBE),
    b"AVI ": Kind("a video file", _TRANSCRIBE),
}
_FTYP = {
    b"heic": Kind("a HEIC image", _OCR),
    b"mif1": Kind("a HEIC image", _OCR),
    b"avif": Kind("an AVIF image", _OCR),
    b"M4A ": Kind("an audio file", _TRANSCRIBE),
}
_VIDEO = Kind("a video file", _TRANSCRIBE)
_TAR_MARK = slice(257, 262)


def unsupported(kind: Kind) -> InvalidInput:
    """The error for a file of a kind that has no reader."""
    message = f"The file is {kind.name}, which cannot be indexed; {kind.help}."
    return InvalidInput(message, "UNSUPPORTED_TYPE", found=kind.name)


def signature(head: bytes) -> Kind | None:
    """What a file is whose first bytes are a mark; None when they are none."""
    if head[:4] == b"RIFF" and head[8:12] in _RIFF:
        return _RIFF[head[8:12]]
    if head[4:8] == b"ftyp":
        return _FTYP.get(head[8:12], _VIDEO)
    if head[_TAR_MARK] == b"ustar":
        return Kind("a tar archive", _UNPACK)
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return Kind("a BMP image", _OCR)
    return next((kind for mark, kind in _SIGNATURES if head.startswith(mark)), None)


def is_noise(head: bytes) -> bool:
    """Whether these bytes are no text in a byte encoding: such text holds no NUL and hardly a control character."""
    controls = sum(byte < 0x20 and byte not in b"\t\n\f\r\x1b" for byte in head)
    return b"\x00" in head or controls * 20 > len(head)
