"""Makes Office documents, e-books and mails: good ones, locked ones, hostile ones."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage

import docx
import openpyxl
import pptx
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from pptx.util import Inches

CREATED = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC).replace(tzinfo=None)
CONTAINER = """<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""


def docx_of(title: str = "Pump handbook") -> bytes:
    """A Word document with headings, lists, tables, a box, a note about itself, a header and a footer."""
    document = docx.Document()
    about = document.core_properties
    about.title, about.author, about.created, about.modified = title, "Ann Lee", CREATED, CREATED
    document.sections[0].header.paragraphs[0].text = "HEADER"
    document.sections[0].footer.paragraphs[0].text = "FOOTER"
    document.add_heading("Pumps", 1)
    document.add_paragraph("The pump is checked every week.")
    document.add_heading("Tools", 2)
    document.add_paragraph("Wrench", style="List Bullet")
    document.add_paragraph("Oil", style="List Bullet")
    document.add_paragraph("Open the lid", style="List Number")
    document.add_paragraph("Look inside", style="List Number")
    table = document.add_table(rows=3, cols=2)
    for row, cells in zip(table.rows, (("Pump", "Pressure"), ("P1", "4 | 5 bar"), ("P2", "")), strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    inner = table.cell(2, 1).add_table(rows=1, cols=2)
    inner.cell(0, 0).text, inner.cell(0, 1).text = "low", "high"
    frame = document.add_table(rows=1, cols=1)
    frame.cell(0, 0).text = "Framed words"
    document.add_paragraph("After the tables.").add_run().element.append(_text_box("Boxed words"))
    return _saved(document)


def docx_with(blocks: str) -> bytes:
    """A Word document whose body is this XML."""
    empty = _saved(docx.Document())
    with zipfile.ZipFile(io.BytesIO(empty)) as package:
        body = package.read("word/document.xml")
    return changed(empty, {"word/document.xml": body.replace(b"<w:sectPr", blocks.encode() + b"<w:sectPr", 1)})


def pptx_of() -> bytes:
    """Three slides: a title with notes, a table and a group, a chart-free list."""
    deck = pptx.Presentation()
    deck.core_properties.title, deck.core_properties.author = "Plant tour", "Ann Lee"
    deck.core_properties.created = deck.core_properties.modified = CREATED
    first = deck.slides.add_slide(deck.slide_layouts[0])
    first.shapes.title.text, first.placeholders[1].text = "Welcome", "A tour of hall 3"
    first.notes_slide.notes_text_frame.text = "Greet the guests"
    second = deck.slides.add_slide(deck.slide_layouts[5])
    second.shapes.title.text = "Pumps"
    table = second.shapes.add_table(2, 2, 0, Inches(2), Inches(4), Inches(1)).table
    for at, text in enumerate(("Pump", "Bar", "P1", "4")):
        table.cell(at // 2, at % 2).text = text
    group = second.shapes.add_group_shape()
    group.shapes.add_textbox(0, Inches(5), Inches(2), Inches(1)).text_frame.text = "Grouped words"
    third = deck.slides.add_slide(deck.slide_layouts[1])
    third.shapes.title.text = "Order"
    frame = third.placeholders[1].text_frame
    frame.text = "Look"
    below = frame.add_paragraph()
    below.text, below.level = "at the oil", 1
    return _saved(deck)


def xlsx_of(sheets: Mapping[str, Sequence[Sequence[object]]]) -> bytes:
    """A workbook of these sheets."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    book.properties.title, book.properties.creator, book.properties.created = "Readings", "Ann Lee", CREATED
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    return _saved(book)


def epub_of(
    chapters: Mapping[str, str], *, extra: Mapping[str, str] | None = None, missing: Sequence[str] = ()
) -> bytes:
    """A book of these chapters, by file name; the spine names `missing` ones, too."""
    names = [*chapters, *missing]
    items = "".join(
        f'<item id="c{at}" href="{name}" media-type="application/xhtml+xml"/>' for at, name in enumerate(names)
    )
    spine = "".join(f'<itemref idref="c{at}"/>' for at in range(len(names)))
    package = f"""<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">
    <metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The Pump</dc:title><dc:creator>Ann Lee</dc:creator>
    <dc:language>en</dc:language></metadata><manifest>{items}</manifest><spine>{spine}</spine></package>"""
    parts = {"META-INF/container.xml": CONTAINER, "OEBPS/content.opf": package, **(extra or {})}
    parts |= {
        f"OEBPS/{name}": f'<html xmlns="http://www.w3.org/1999/xhtml"><body>{body}</body></html>'
        for name, body in chapters.items()
    }
    return zipped({"mimetype": "application/epub+zip", **parts})


def mail_of(
    text: str = "The pump leaks.\n", *, html: str = "", attachment: str = "", subject: str = "Pump Größe"
) -> EmailMessage:
    """A mail with a text, an HTML, or both."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Ann Lee <ann@example.com>", "bob@example.com", subject
    mail["Date"], mail["Message-ID"] = "Mon, 06 May 2024 07:08:09 +0000", "<1@example.com>"
    if text:
        mail.set_content(text)
        if html:
            mail.add_alternative(html, subtype="html")
    else:
        mail.set_content(html, subtype="html")
    if attachment:
        mail.add_attachment(b"%PDF-1.4 secret words", maintype="application", subtype="pdf", filename=attachment)
    return mail


def zipped(parts: Mapping[str, str | bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of these parts."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression, compresslevel=9) as target:
        for name, content in parts.items():
            target.writestr(name, content)
    return out.getvalue()


def changed(document: bytes, parts: Mapping[str, str | bytes]) -> bytes:
    """An archive with some of its parts replaced, or more of them."""
    with zipfile.ZipFile(io.BytesIO(document)) as source:
        return zipped({**{name: source.read(name) for name in source.namelist()}, **parts})


def ole(*entries: str) -> bytes:
    """The outside of an OLE file with a directory of these entries."""
    directory = b"".join(name.encode("utf-16-le").ljust(64, b"\0") + bytes(64) for name in ("Root Entry", *entries))
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(512, b"\0") + directory.ljust(5120, b"\0")


def _text_box(text: str) -> object:
    box = f"<w:pict {nsdecls('w')}><w:txbxContent><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:txbxContent></w:pict>"
    return parse_xml(box)


def _saved(document: object) -> bytes:
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()
