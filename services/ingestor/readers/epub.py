"""Reads EPUB books, chapter by chapter in the order of their spine."""

from __future__ import annotations

import html.entities
import posixpath
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lxml import etree

from rag.runtime.errors import InvalidInput
from services.ingestor.pages import Opening, Page
from services.ingestor.readers import archive, markup
from services.ingestor.readers.about import facts, line
from services.ingestor.readers.faults import named, xml_parser
from services.ingestor.readers.parts import clean, parts

_DAMAGED = "The e-book is damaged and cannot be read."
_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_FONT_SCRAMBLING = (b"http://www.idpf.org/2008/embedding", b"http://ns.adobe.com/pdf/enc#RC")
_ALGORITHM = re.compile(rb"EncryptionMethod[^>]*Algorithm\s*=\s*[\"']([^\"']+)")
_MAX_CHAPTER_BYTES = 16 * archive.MB
_MAX_CHAPTERS = 5_000
_ENTITY = re.compile(rb"&([A-Za-z][A-Za-z0-9]{1,30});")
_XML_ENTITIES = {b"amp", b"lt", b"gt", b"quot", b"apos"}
_TEXT_TYPES = {"application/xhtml+xml", "text/html", "application/x-dtbook+xml"}


def read(path: Path) -> Iterator[Opening | Page]:
    """Yield the title and the number of chapters, then the chapters. One that is missing is skipped.

    Raises:
        InvalidInput: EPUB_DAMAGED, EPUB_ENCRYPTED, ARCHIVE_*.
    """
    with archive.opened(path) as book, named("EPUB_DAMAGED", _DAMAGED):
        _refuse_locked(book)
        place = _package_place(book)
        package = _xml(archive.member(book, place))
        chapters = _chapters(package, posixpath.dirname(place))
        yield Opening(len(chapters), line(_said(package, "title")), _facts(package))
        for number, name in enumerate(chapters, 1):
            content = archive.member(book, name, _MAX_CHAPTER_BYTES)
            if content:
                yield from parts(number, [clean(markup.markdown(_xml(_plain_entities(content))))])
            else:
                yield Page(number, "", skipped=True)


def _refuse_locked(book: zipfile.ZipFile) -> None:
    algorithms = _ALGORITHM.findall(archive.member(book, _ENCRYPTION))
    if any(name not in _FONT_SCRAMBLING for name in algorithms):
        raise InvalidInput("The e-book is protected against copying (DRM).", "EPUB_ENCRYPTED")


def _package_place(book: zipfile.ZipFile) -> str:
    """Where the list of the book's parts lies."""
    for element in _xml(archive.member(book, _CONTAINER)).iter():
        if markup.tag_of(element) == "rootfile" and element.get("full-path"):
            return str(element.get("full-path"))
    raise InvalidInput(_DAMAGED, "EPUB_DAMAGED")


def _chapters(package: Any, folder: str) -> list[str]:
    items = {
        item.get("id"): posixpath.normpath(posixpath.join(folder, unquote(item.get("href", "").partition("#")[0])))
        for item in package.iter()
        if markup.tag_of(item) == "item" and item.get("media-type") in _TEXT_TYPES
    }
    spine = [item.get("idref") for item in package.iter() if markup.tag_of(item) == "itemref"]
    chapters = [items[key] for key in dict.fromkeys(spine) if key in items]
    if not chapters or len(chapters) > _MAX_CHAPTERS:
        raise InvalidInput(_DAMAGED, "EPUB_DAMAGED")
    return chapters


def _xml(content: bytes) -> Any:
    root = etree.fromstring(content, xml_parser())
    if root is None:
        raise InvalidInput(_DAMAGED, "EPUB_DAMAGED")
    return root


def _plain_entities(content: bytes) -> bytes:
    """Writes out what only HTML has names for, such as `&nbsp;`."""

    def character(found: re.Match[bytes]) -> bytes:
        known = found[1] not in _XML_ENTITIES and html.entities.html5.get(found[1].decode() + ";")
        return "".join(f"&#{ord(char)};" for char in known).encode() if known else found[0]

    return _ENTITY.sub(character, content)


def _said(package: Any, name: str) -> str:
    """What the book says of itself under a name of Dublin Core; several values are joined."""
    found = [
        " ".join("".join(element.itertext()).split()) for element in package.iter() if markup.tag_of(element) == name
    ]
    return ", ".join(dict.fromkeys(filter(None, found[:1] if name == "title" else found[:10])))


def _facts(package: Any) -> dict[str, str]:
    return facts(
        author=_said(package, "creator"),
        published=_said(package, "date"),
        publisher=_said(package, "publisher"),
        language=_said(package, "language"),
        description=_said(package, "description"),
        identifier=_said(package, "identifier"),
    )
