"""Opens ZIP archives that nobody vouches for: sizes are checked before anything is unpacked."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rag.runtime.errors import InvalidInput
from services.ingestor.readers.faults import named

MB = 1_000_000
MAX_MEMBERS = 20_000
MAX_UNPACKED_BYTES = 4_000 * MB
"""What all members together may claim; most are never unpacked."""
MAX_MEMBER_BYTES = 32 * MB
"""The largest member that is read whole."""
MAX_XML_BYTES = 48 * MB
"""What the XML of an Office document may unpack to: it is held as a tree."""

_UNSAFE = re.compile(r"(?:^|[\\/])\.\.(?:[\\/]|$)|^[\\/]|^[A-Za-z]:")
_STRICT = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/")
_ENCRYPTED = 0x1


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, when its directory promises nothing bad.

    Raises:
        InvalidInput: ARCHIVE_DAMAGED, ARCHIVE_LIMIT, ARCHIVE_UNSAFE, ARCHIVE_ENCRYPTED.
    """
    with named("ARCHIVE_DAMAGED", "The file is damaged or cut off: its ZIP archive cannot be opened."):
        archive = zipfile.ZipFile(path)
    with archive:
        _check(archive.infolist())
        yield archive


def member(archive: zipfile.ZipFile, name: str, most_bytes: int = MAX_MEMBER_BYTES) -> bytes:
    """One member, whole; empty when there is none of that name.

    Raises:
        InvalidInput: ARCHIVE_LIMIT, ARCHIVE_DAMAGED.
    """
    if size_of(archive, name) > most_bytes:
        raise too_much(name)
    with named("ARCHIVE_DAMAGED", f"The file is damaged: its part {name[:100]} cannot be unpacked."):
        try:
            file = archive.open(name)
        except KeyError:
            return b""
        with file:
            content = file.read(most_bytes + 1)
            # The end is where the check sum is verified.
            if len(content) > most_bytes or file.read(1):
                raise too_much(name)
            return content


def size_of(archive: zipfile.ZipFile, name: str) -> int:
    """What a member claims to unpack to, in bytes; 0 when there is none of that name."""
    info = archive.NameToInfo.get(name)
    return info.file_size if info else 0


def xml_only(archive: zipfile.ZipFile, change: Callable[[bytes], bytes]) -> io.BytesIO:
    """A copy of an Office document without images, films and fonts, fit to be held in memory.

    Args:
        archive: The document.
        change: Applied to the list of content types.

    Raises:
        InvalidInput: ARCHIVE_LIMIT, ARCHIVE_DAMAGED.
    """
    total = sum(info.file_size for info in archive.infolist() if _is_xml(info.filename))
    if total > MAX_XML_BYTES:
        raise too_much("text")
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w") as target:
        for name in archive.NameToInfo:
            content = _STRICT.sub(rb"http://schemas.openxmlformats.org/\1/2006/", _xml(archive, name))
            target.writestr(name, change(content) if name == "[Content_Types].xml" else content)
    copy.seek(0)
    return copy


def too_much(name: str) -> InvalidInput:
    """The error for an archive whose part of this name unpacks to too much."""
    return InvalidInput(
        f"The file unpacks to more than is allowed: its part {name[:100]} is too large.", "ARCHIVE_LIMIT"
    )


def _xml(archive: zipfile.ZipFile, name: str) -> bytes:
    content = member(archive, name) if _is_xml(name) else b""
    if b"<!DOCTYPE" in content[:4096] or b"<!ENTITY" in content[:4096]:
        # No program writes one there; it can only be an attack with entities.
        raise InvalidInput(
            f"The file defines XML entities in its part {name[:100]}, which is not allowed.", "XML_ENTITIES"
        )
    return content


def _is_xml(name: str) -> bool:
    return name.lower().endswith((".xml", ".rels"))


def _check(members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_MEMBERS:
        raise InvalidInput(f"The file is an archive of more than {MAX_MEMBERS} parts.", "ARCHIVE_LIMIT")
    if sum(info.file_size for info in members) > MAX_UNPACKED_BYTES:
        raise InvalidInput("The file unpacks to more than is allowed for one document.", "ARCHIVE_LIMIT")
    if any(_UNSAFE.search(info.filename) for info in members):
        raise InvalidInput("The file is an archive with a part that points outside of it.", "ARCHIVE_UNSAFE")
    if any(info.flag_bits & _ENCRYPTED for info in members):
        raise InvalidInput("The file is an archive that is encrypted with a password.", "ARCHIVE_ENCRYPTED")
