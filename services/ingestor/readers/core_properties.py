"""The title and the facts that an Office document states about itself."""

from __future__ import annotations

import re
import zipfile

from lxml import etree

from services.ingestor.readers import archive
from services.ingestor.readers.about import facts, line
from services.ingestor.readers.faults import xml_parser

_PLACE = "docProps/core.xml"
_MAX_BYTES = 1_000_000
_JUNK = re.compile(
    r"(?:Microsoft (?:Word|PowerPoint|Excel) - .*|Word Document|Document\d*|PowerPoint[ -]Presentation|Presentation\d*"
    r"|Untitled|Book\d*|Slide \d+)",
    re.IGNORECASE,
)
"""Titles that programs make up."""
_LIBRARIES = {"python-docx", "python-pptx", "openpyxl", "XlsxWriter", "Apache POI", "docx4j"}


def about(package: zipfile.ZipFile) -> tuple[str, dict[str, str]]:
    """The title, empty for none worth the name, and the facts as metadata. What is broken is left out."""
    values = _values(archive.member(package, _PLACE, _MAX_BYTES))
    title = line(values.get("title"))
    author = values.get("creator", "")
    found = facts(
        author=None if author in _LIBRARIES else author,
        created=values.get("created"),
        modified=values.get("modified"),
        subject=values.get("subject"),
        keywords=values.get("keywords"),
        category=values.get("category"),
        language=values.get("language"),
    )
    return "" if _JUNK.fullmatch(title) else title, found


def _values(content: bytes) -> dict[str, str]:
    try:
        root = etree.fromstring(content, xml_parser())
    except etree.XMLSyntaxError:
        return {}  # the text is worth more than what is said about it
    if root is None:
        return {}
    return {etree.QName(element).localname: element.text or "" for element in root.iterchildren(etree.Element)}
