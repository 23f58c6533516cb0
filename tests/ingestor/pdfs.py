"""Makes PDFs: good ones, locked ones, broken ones, hostile ones."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence

import pypdf
from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

LINE = "Line {line} of page {page}: the pump in hall {page} is checked every {line} weeks by the shift leader."


def pdf(
    pages: int = 3,
    lines: int = 30,
    *,
    title: str = "",
    password: str | None = None,
    strength: int = 128,
    about: Mapping[str, str] | None = None,
) -> bytes:
    """A PDF with text; encrypted when a password is given, even an empty one, by a key of `strength` bits.

    `about` is what it says about itself: `author`, `subject`, `keywords`.
    """
    encrypt = (
        StandardEncryption(password, ownerPassword="owner", canPrint=0, strength=strength)
        if password is not None
        else None
    )
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A4, encrypt=encrypt, invariant=1)
    canvas.setTitle(title)
    for name, value in (about or {}).items():
        getattr(canvas, f"set{name.title()}")(value)
    for page in range(1, pages + 1):
        for line in range(1, lines + 1):
            canvas.drawString(50, 825 - 20 * line, LINE.format(line=line, page=page))
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def pdf_of_pages(texts: Sequence[str]) -> bytes:
    """A PDF with one line of text on each page; none where the text is empty."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A4, invariant=1)
    for text in texts:
        canvas.drawString(50, 800, text)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def image_only_pdf() -> bytes:
    """A PDF as a scanner makes it: something drawn, no text."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A4, invariant=1)
    canvas.rect(50, 50, 400, 600, fill=1)
    canvas.showPage()
    canvas.save()
    return out.getvalue()


WORDS = b"BT /F1 12 Tf (hello) Tj ET "
"""A content stream that shows a word."""


def flate_bomb() -> bytes:
    """400 MB of spaces in 400 KB."""
    return pdf_with_content(_packed_spaces(400), packed=True)


def double_flate_bomb() -> bytes:
    """400 MB of spaces packed twice, in 1.4 KB."""
    return pdf_with_content(zlib.compress(_packed_spaces(400), 9), filters="[/FlateDecode /FlateDecode]", packed=True)


def operators_bomb() -> bytes:
    """70 MB of operators in 120 KB."""
    return pdf_with_content(WORDS * (70_000_000 // len(WORDS)))


def shared_stream_bomb(words: int = 20_000) -> bytes:
    """2,000 pages that share one content stream, in 300 KB."""
    return pdf_with_content(WORDS * words, pages=2_000)


def partly_shared_stream_bomb(words: int = 20_000, pages: int = 200) -> bytes:
    """Pages that share a long content stream, and have a short one of their own each."""
    first = 5 + pages
    own = [_stream(b"BT (%d) Tj ET" % number) for number in range(pages)]
    kids = [_page(b"[4 0 R %d 0 R]" % (5 + number)) for number in range(pages)]
    return _file([*_tree(first, pages), _stream(WORDS * words), *own, *kids])


def _packed_spaces(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(b" " * 1_000_000) for _ in range(megabytes)) + packer.flush()


def locked(content: bytes, user: str, owner: str, algorithm: str) -> bytes:
    """The PDF encrypted with two passwords."""
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(content))
    writer.encrypt(user, owner, algorithm=algorithm)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def pdf_with_contents(streams: Sequence[bytes]) -> bytes:
    """A PDF with a page for each content stream."""
    first = 4 + len(streams)
    pages = [_page(b"%d 0 R" % (4 + number)) for number in range(len(streams))]
    return _file([*_tree(first, len(pages)), *map(_stream, streams), *pages])


def pdf_with_content(
    stream: bytes,
    pages: int = 1,
    *,
    filters: str = "/FlateDecode",
    packed: bool = False,
    inherit: bool = False,
    info: bytes = b"",
    trailer: bytes = b"",
) -> bytes:
    """A PDF whose pages all show one content stream, compressed unless it is `packed`: small outside, large inside.

    With `inherit` the pages have their fonts and size from the tree. `info` is what the document says about itself.
    """
    objects = [*_tree(5, pages, inherit=inherit), _stream(stream, filters, packed=packed)]
    objects += [_page(b"4 0 R", b"" if inherit else _SHARED)] * pages
    if info:
        objects.append(info)
        trailer += f"/Info {len(objects)} 0 R".encode()
    return _file(objects, trailer)


def pdf_with_object_stream(idle: int = 0, *, head: bytes | None = None, cyclic: bool = False) -> bytes:
    """A PDF whose catalogue and page lie in an object stream, beside `idle` objects that nobody needs.

    `head` replaces the list of places inside the stream; `cyclic` has the stream's own length lie in it.
    """
    inside = [*_tree(4, 1), _page(b"5 0 R"), *[b"<< /S /Span >>"] * idle]
    numbers = [1, 2, 3, 4, *range(8, 8 + idle)]
    places = [sum(len(one) + 1 for one in inside[:index]) for index in range(len(inside))]
    places_text = " ".join(f"{number} {place}" for number, place in zip(numbers, places, strict=True)).encode()
    index = (places_text if head is None else head) + b"\n"
    extra = f"/Type /ObjStm /N {len(inside)} /First {len(index)}"
    if cyclic:
        extra += " /Extends 6 0 R"
    body = b"%PDF-1.5\n"
    offsets = {}
    for number, content in ((5, _stream(WORDS)), (6, _stream(index + b"\n".join(inside), extra=extra, cyclic=cyclic))):
        offsets[number] = len(body)
        body += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    entries = {number: struct.pack(">BIH", 2, 6, place) for place, number in enumerate(numbers)}
    entries |= {number: struct.pack(">BIH", 1, offset, 0) for number, offset in offsets.items()}
    entries[7] = struct.pack(">BIH", 1, len(body), 0)
    size = 8 + idle
    table = b"".join(entries.get(number, bytes(7)) for number in range(size))
    extra = f"/Type /XRef /Size {size} /W [1 4 2] /Root 1 0 R"
    return body + b"7 0 obj\n" + _stream(table, extra=extra) + f"\nendobj\nstartxref\n{len(body)}\n%%EOF\n".encode()


_SHARED = b"/MediaBox [0 0 600 800] /Resources << /Font << /F1 3 0 R >> >>"


def _tree(first: int, pages: int, *, inherit: bool = False) -> list[bytes]:
    """Catalogue, pages from object `first` on, and a font: objects 1 to 3."""
    kids = " ".join(f"{first + number} 0 R" for number in range(pages)).encode()
    shared = _SHARED if inherit else b""
    return [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d %s >>" % (kids, pages, shared),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]


def _page(contents: bytes, shared: bytes = _SHARED) -> bytes:
    return b"<< /Type /Page /Parent 2 0 R /Contents %s %s >>" % (contents, shared)


def _stream(
    content: bytes, filters: str = "/FlateDecode", *, packed: bool = False, extra: str = "", cyclic: bool = False
) -> bytes:
    content = content if packed else zlib.compress(content, 9)
    length = "1 0 R" if cyclic else str(len(content))
    return f"<< /Length {length} /Filter {filters} {extra} >>\nstream\n".encode() + content + b"\nendstream"


def _file(objects: list[bytes], trailer: bytes = b"") -> bytes:
    body = io.BytesIO()
    body.write(b"%PDF-1.4\n")
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(body.tell())
        body.write(b"%d 0 obj\n%s\nendobj\n" % (number, content))
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    end = body.tell()
    size = len(objects) + 1
    body.write(b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table))
    body.write(b"trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (size, trailer, end))
    return body.getvalue()
