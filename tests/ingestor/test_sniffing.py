"""What a file is: by its content, and by its name only between kinds of text."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.runtime.errors import InvalidInput
from services.ingestor.media_types import (
    CSV,
    EML,
    EPUB,
    HTML,
    JSON,
    JSON_LINES,
    MARKDOWN,
    OLE,
    PDF,
    TEXT,
    TSV,
    XML,
    ZIP,
)
from services.ingestor.readers.kinds import READERS
from services.ingestor.sniffing import HEAD_BYTES, media_type_of
from tests.ingestor.documents import docx_of, epub_of, mail_of, ole, zipped

TABLE = "Team,City,Cups\nBlues,STL,1\nFlyers,PHI,2\nLeafs,TOR,13\n"
MAIL_ROUTE = "Delivered-To: ann@example.com\nReceived: by 10.0.0.1 with SMTP;\n        Fri, 28 Oct 2022\n"
PROSE = "Checked every week, without fail.\nThe pump, in hall 3, is old.\nIt leaks.\n"


@pytest.mark.parametrize(
    ("content", "name", "found"),
    [
        (b"%PDF-1.4\n", "a.txt", PDF),
        (docx_of(), "letter.pdf", ZIP),
        (zipped({"a.txt": "x"}), "a.docx", ZIP),
        (epub_of({"a.xhtml": "<p>x</p>"}), "a.zip", ZIP),
        (ole("WordDocument"), "a.docx", OLE),
        (b"<!doctype html><p>x", "a.txt", HTML),
        (b"<?xml version='1.0'?>\n<html><body>x", "a", HTML),
        (b"<?xml version='1.0'?>\n<catalog><item/></catalog>", "a.txt", XML),
        (b"<catalog><item/></catalog>", "a.xml", XML),
        (b"<p>only a piece</p>", "a.html", HTML),
        (TABLE.encode(), "a.csv", CSV),
        (TABLE.encode(), "a.txt", CSV),
        (TABLE.encode("utf-16"), "a", CSV),
        (TABLE.replace(",", ";").encode(), "a", CSV),
        (TABLE.replace(",", "\t").encode(), "a.csv", TSV),
        (b"name\nAnn\nBob\n", "a.csv", CSV),
        (PROSE.encode(), "a.txt", TEXT),
        (b"a | b | c\n--- | --- | ---\n1 | 2 | 3\n4 | 5 | 6\n", "a", TEXT),
        (b"a,b,c\nd,e,f\ng,h,i\n", "a.py", TEXT),
        (b'{"a": 1}', "a.txt", JSON),
        (b'[{"a": "' + b"x" * HEAD_BYTES, "a", JSON),
        (b'{"a": 1, ', "a.json", JSON),
        (b'{"a": 1, ', "a.txt", TEXT),
        (b'{"a": 1}\n{"a": 2}\n', "a.txt", JSON_LINES),
        (b'{"a": "' + b"x" * HEAD_BYTES, "a.jsonl", JSON_LINES),
        (b"[1] A footnote, not JSON.", "a.txt", TEXT),
        (b"[link](http://x) and\n\n[another](http://y)", "a", MARKDOWN),
        (b"# Pumps\n\nText.\n\n## Valves\n", "a", MARKDOWN),
        (b"# Pumps\n\nText.\n\n## Valves\n", "a.txt", TEXT),
        (b"x", "a.md", MARKDOWN),
        (bytes(mail_of()), "a.txt", EML),
        (mail_of().as_string().encode("utf-16"), "a.eml", EML),
        ((MAIL_ROUTE + "X-Seal: " + "x" * HEAD_BYTES).encode(), "a.eml", EML),
        (b"To: do list\n\nBuy oil.", "a.txt", TEXT),
        (b"import os\n\nprint('x')\n", "a.py", TEXT),
        (b"Title\n=====\n\n.. note:: x\n", "a.rst", TEXT),
        (b"* Heading\n** Below\n", "a.org", TEXT),
        ("Grüße aus Köln".encode("latin-1"), "a.txt", TEXT),
    ],
)
def test_the_content_tells_the_type(content, name, found):
    assert media_type_of(content[:HEAD_BYTES], name) == found


def test_every_type_has_a_reader():
    assert set(READERS) >= {PDF, TEXT, MARKDOWN, HTML, XML, CSV, TSV, JSON, JSON_LINES, EML, EPUB, ZIP, OLE}


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as target:
        target.addfile(tarfile.TarInfo("a.txt"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "kind", "help_"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a.pdf", "a PNG image", "OCR"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "a.md", "a JPEG image", "OCR"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "a.txt", "an audio file", "transcribe"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(20), "a", "a video file", "transcribe"),
        (b"{\\rtf1\\ansi hello}", "a.doc", "an RTF document", ".docx"),
        (b"\x1f\x8b\x08" + bytes(20), "a.tar.gz", "a gzip archive", "unpack"),
        (tar(), "a", "a tar archive", "unpack"),
        (b"SQLite format 3\x00" + bytes(50), "a", "an SQLite database", "CSV"),
        (bytes(range(256)) * 8, "a.txt", "binary data", "PDF"),
    ],
)
def test_what_has_no_reader_is_named_with_what_would_help(content, name, kind, help_):
    with pytest.raises(InvalidInput) as caught:
        media_type_of(content[:HEAD_BYTES], name)
    assert caught.value.reason == "UNSUPPORTED_TYPE"
    assert caught.value.metadata["found"] == kind
    assert kind in caught.value.message
    assert help_ in caught.value.message


def test_an_empty_file_is_named():
    with pytest.raises(InvalidInput) as caught:
        media_type_of(b"", "a.txt")
    assert caught.value.reason == "EMPTY_FILE"


@given(
    st.binary(min_size=1, max_size=HEAD_BYTES), st.sampled_from(["a", "a.json", "a.csv", "a.xml", "a.html", "a.eml"])
)
def test_any_bytes_have_a_type_with_a_reader_or_are_refused(head, name):
    try:
        found = media_type_of(head, name)
    except InvalidInput as refused:
        found = refused.reason
    assert found in {*READERS, "UNSUPPORTED_TYPE"}
