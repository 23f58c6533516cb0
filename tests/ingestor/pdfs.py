"""Makes PDFs: good ones, locked ones, broken ones, hostile ones."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence

from reportlab.lib.pagesizes import A4
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

LINE = "Line {line} of page {page}: the pump in hall {page} is checked every {line} weeks by the shift leader."


def pdf(pages: int = 3, lines: int = 30, *, title: str = "", password: str | None = None) -> bytes:
    """A PDF with text; encrypted when a password is given, even an empty one."""
    encrypt = StandardEncryption(password, ownerPassword="owner", canPrint=0) if password is not None else None
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A4, encrypt=encrypt, invariant=1)
    canvas.setTitle(title)
    for page in range(1, pages + 1):
        for line in range(1, lines + 1):
            canvas.drawString(50, 820 - 20 * line, LINE.format(line=line, page=page))
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


def pdf_with_content(stream: bytes, pages: int = 1) -> bytes:
    """A PDF whose pages all show one content stream, compressed: small outside, large inside."""
    packed = zlib.compress(stream, 9)
    kids = " ".join(f"{5 + number} 0 R" for number in range(pages))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        f"<< /Length {len(packed)} /Filter /FlateDecode >>\nstream\n".encode() + packed + b"\nendstream",
    ]
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources << /Font << /F1 3 0 R >> >> >>"
    return _file([*objects, *[page] * pages])


def _file(objects: list[bytes]) -> bytes:
    body = b"%PDF-1.4\n"
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    head = (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\n"
    )
    return body + head.encode() + f"startxref\n{len(body)}\n%%EOF\n".encode()
