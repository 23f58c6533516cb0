"""Refuses OLE files - old Office documents, and new ones that are encrypted - by what they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rag.runtime.errors import InvalidInput
from services.ingestor.pages import Opening, Page
from services.ingestor.signatures import Kind, unsupported

_PIECE_BYTES = 1_048_576
_ENTRIES: tuple[tuple[str, Kind], ...] = (
    ("WordDocument", Kind("a Word document of the old format (.doc)", "save it as .docx or PDF")),
    ("Workbook", Kind("an Excel workbook of the old format (.xls)", "save it as .xlsx or CSV")),
    ("Book", Kind("an Excel workbook of the old format (.xls)", "save it as .xlsx or CSV")),
    ("PowerPoint Document", Kind("a PowerPoint presentation of the old format (.ppt)", "save it as .pptx or PDF")),
    ("__properties_version1.0", Kind("an Outlook message (.msg)", "save it as .eml")),
    ("VisioDocument", Kind("a Visio drawing of the old format (.vsd)", "save it as PDF")),
)
_LOCKED = "EncryptedPackage"
_OLD = Kind("a document of an old Office version", "save it as .docx, .xlsx, .pptx or PDF")
_ENTRY_NAME_BYTES = 64
_ENTRY_BYTES = 128


def read(path: Path) -> Iterator[Opening | Page]:
    """Raise what the file is.

    Raises:
        InvalidInput: OFFICE_ENCRYPTED, UNSUPPORTED_TYPE.
    """
    found = _found(path, [_LOCKED, *(name for name, _ in _ENTRIES)])
    if _LOCKED in found:
        message = "The Office document is encrypted with a password; save it without one."
        raise InvalidInput(message, "OFFICE_ENCRYPTED")
    raise unsupported(next((kind for name, kind in _ENTRIES if name in found), _OLD))


def _found(path: Path, names: list[str]) -> set[str]:
    """Which of these entries its directory has. An entry holds its name in UTF-16, filled up with NUL bytes."""
    marks = {name: name.encode("utf-16-le").ljust(_ENTRY_NAME_BYTES, b"\0") for name in names}
    found: set[str] = set()
    rest = b""
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            window = rest + piece
            # Entries lie at multiples of their length, so a name inside another name is not taken for one.
            found.update(name for name, mark in marks.items() if _aligned(window, mark))
            rest = window[-(len(window) % _ENTRY_BYTES) :] if len(window) % _ENTRY_BYTES else b""
    return found


def _aligned(window: bytes, mark: bytes) -> bool:
    at = window.find(mark)
    while at >= 0 and at % _ENTRY_BYTES:
        at = window.find(mark, at + 1)
    return at >= 0
