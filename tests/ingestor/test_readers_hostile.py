"""Broken and hostile documents: each is refused with its own reason, by the reader itself, in bounded memory."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile

import pytest

from rag.runtime.errors import InvalidInput
from services.ingestor.readers import archive
from tests.ingestor import reading
from tests.ingestor.documents import changed, docx_of, docx_with, epub_of, mail_of, ole, pptx_of, xlsx_of, zipped

XHTML = "<h1>One</h1><p>" + "Words of a chapter. " * 30 + "</p>"
ROWS = [["Pump", "Bar"], ["P1", 4], ["P2", 5]]
ENTITIES = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "lollollol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
WHOLE = {
    "docx": docx_of,
    "pptx": pptx_of,
    "xlsx": lambda: xlsx_of({"A": ROWS}),
    "epub": lambda: epub_of({"a.xhtml": XHTML}),
    "eml": lambda: bytes(mail_of(html="<p>The pump leaks.</p>", attachment="plan.pdf")),
    "json": lambda: json.dumps([{"a": {"b": [1, True, None, "x"]}}] * 5, indent=1).encode(),
    "xml": lambda: b"<?xml version='1.0'?><a><b c='d'>one</b><b>two &amp; three</b></a>",
    "csv": lambda: b'Pump,Bar\nP1,"4"\nP2,5\n',
    "html": f"<!doctype html><html><body>{XHTML}</body></html>".encode,
}
MB = 1_000_000


@pytest.fixture
def reason(tmp_path):
    return lambda content, name="document": reading.refusal(tmp_path / "document", content, name).reason


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_cut_anywhere_is_read_or_refused_with_a_reason(tmp_path, kind):
    content = WHOLE[kind]()
    step = max(1, len(content) // 60)
    for end in {*range(1, len(content), step), *range(max(1, len(content) - 30), len(content))}:
        found = reading.outcome(tmp_path / "a", content[:end], f"a.{kind}")
        assert not found or found.split("_")[0] in {kind.upper(), "ARCHIVE", "UNSUPPORTED", "BAD", "NO"}, (end, found)


@pytest.mark.parametrize("kind", ["docx", "pptx", "xlsx", "epub"])
def test_a_package_with_a_damaged_part_is_read_or_refused_with_a_reason(tmp_path, kind):
    content = WHOLE[kind]()
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        parts = {name: package.read(name) for name in package.namelist()}
    for name, part in list(parts.items())[:12]:
        for bad in (b"", part[: len(part) // 2], b"<a/>"):
            reading.outcome(tmp_path / "a", changed(content, {name: bad}))
        without = zipped({other: value for other, value in parts.items() if other != name})
        reading.outcome(tmp_path / "a", without)


@pytest.mark.parametrize("kind", ["docx", "pptx", "xlsx", "epub"])
def test_a_package_with_changed_bytes_is_read_or_refused_with_a_reason(tmp_path, kind):
    content = bytearray(WHOLE[kind]())
    for at in range(0, len(content), max(1, len(content) // 80)):
        content[at] ^= 0xFF
        reading.outcome(tmp_path / "a", bytes(content))
        content[at] ^= 0xFF


@pytest.mark.parametrize(
    ("name", "reason_"),
    [
        ("../../etc/passwd", "ARCHIVE_UNSAFE"),
        ("/etc/passwd", "ARCHIVE_UNSAFE"),
        ("word\\..\\..\\x", "ARCHIVE_UNSAFE"),
        ("C:/x", "ARCHIVE_UNSAFE"),
    ],
)
def test_an_archive_that_points_outside_is_refused(reason, name, reason_):
    assert reason(changed(docx_of(), {name: "x"})) == reason_


def test_a_book_whose_chapters_point_outside_has_no_such_chapters(tmp_path):
    book = epub_of({"a.xhtml": XHTML}, missing=["../../../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd"])
    assert [page.skipped for page in reading.read(tmp_path / "a", book).pages] == [False, True, True]


def big(name: str, megabytes: int, begin: bytes = b"", fill: bytes = b" ") -> bytes:
    """A part that unpacks to this much."""
    return begin + fill * (megabytes * MB // len(fill))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: changed(docx_of(), {"word/document.xml": big("d", 60)}), id="docx"),
        pytest.param(lambda: changed(docx_of(), {f"word/x{at}.xml": big("d", 10) for at in range(6)}), id="docx-parts"),
        pytest.param(lambda: changed(pptx_of(), {"ppt/slides/slide1.xml": big("d", 60)}), id="pptx"),
        pytest.param(lambda: changed(xlsx_of({"A": ROWS}), {"xl/sharedStrings.xml": big("d", 70)}), id="xlsx"),
        pytest.param(lambda: changed(xlsx_of({"A": ROWS}), {"xl/styles.xml": big("d", 40)}), id="xlsx-styles"),
        pytest.param(lambda: changed(epub_of({"a.xhtml": XHTML}), {"OEBPS/a.xhtml": big("d", 20)}), id="epub"),
        pytest.param(lambda: changed(docx_of(), {"[Content_Types].xml": big("d", 40)}), id="types"),
        pytest.param(lambda: zipped({f"a{at}": "" for at in range(archive.MAX_MEMBERS + 1)}), id="members"),
    ],
)
def test_a_bomb_is_refused_before_it_unpacks(tmp_path, content):
    bomb = content()
    assert len(bomb) < 3 * MB
    tracemalloc.start()
    try:
        found = reading.outcome(tmp_path / "a", bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == "ARCHIVE_LIMIT"
    assert peak < 50 * MB


def test_a_part_that_is_larger_than_it_says_is_refused(reason):
    content = epub_of({"a.xhtml": "<p>" + "x" * 1000 + "</p>"})
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        size = package.getinfo("OEBPS/a.xhtml").file_size
    at = content.rindex(size.to_bytes(4, "little"))
    assert reason(content[:at] + (10).to_bytes(4, "little") + content[at + 4 :]) == "ARCHIVE_DAMAGED"


@pytest.mark.parametrize(
    ("content", "reason_"),
    [
        (lambda: changed(docx_of(), {"word/document.xml": ENTITIES + "<a>&b;</a>"}), "XML_ENTITIES"),
        (lambda: changed(pptx_of(), {"ppt/presentation.xml": ENTITIES + "<a>&b;</a>"}), "XML_ENTITIES"),
        (lambda: changed(xlsx_of({"A": ROWS}), {"xl/worksheets/sheet1.xml": ENTITIES + "<a>&b;</a>"}), "XLSX_DAMAGED"),
        ((ENTITIES + "<a>&b;</a>").encode, "XML_ENTITIES"),
        (
            lambda: b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
            "XML_ENTITIES",
        ),
    ],
)
def test_entities_are_not_expanded(reason, content, reason_):
    assert reason(content()) == reason_


def test_entities_of_a_book_are_not_expanded(tmp_path):
    chapter = '<!DOCTYPE html [<!ENTITY x SYSTEM "file:///etc/passwd"><!ENTITY a "lol">]><html><body><p>A &x;&a; b</p></body></html>'
    document = reading.read(tmp_path / "a", changed(epub_of({"a.xhtml": ""}), {"OEBPS/a.xhtml": chapter}))
    assert document.text == "A b"


def test_a_sheet_that_claims_a_billion_cells_costs_what_it_holds(tmp_path):
    content = xlsx_of({"A": ROWS})
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        sheet = package.read("xl/worksheets/sheet1.xml")
    assert b'ref="A1:B3"' in sheet
    sheet = sheet.replace(b'ref="A1:B3"', b'ref="A1:XFD1048576"')
    document = reading.read(tmp_path / "a", changed(content, {"xl/worksheets/sheet1.xml": sheet}))
    assert document.text == "# A\n\nPump: P1; Bar: 4\nPump: P2; Bar: 5\n"


def test_a_cell_far_away_costs_little(tmp_path):
    content = xlsx_of({"A": ROWS})
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        sheet = package.read("xl/worksheets/sheet1.xml")
    far = b'<row r="1048576"><c r="XFD1048576" t="n"><v>7</v></c></row></sheetData>'
    document = reading.read(
        tmp_path / "a", changed(content, {"xl/worksheets/sheet1.xml": sheet.replace(b"</sheetData>", far)})
    )
    assert document.text.endswith("Bar: 5\n7\n")


@pytest.mark.parametrize(
    ("content", "name", "reason_"),
    [
        (b"[" * 100_000, "a.json", "JSON_LIMIT"),
        (b'{"a":' * 100_000, "a.json", "JSON_LIMIT"),
        (b"<?xml version='1.0'?>" + b"<a>" * 100_000, "a.xml", "XML_LIMIT"),
        (b"a," * 5_000_000, "a.csv", "CSV_LIMIT"),
        (b'Name,Said\nAnn,"' + b"no end\n" * 100_000, "a.csv", "CSV_LIMIT"),
    ],
)
def test_depth_and_length_have_limits(reason, content, name, reason_):
    assert reason(content, name) == reason_


@pytest.mark.parametrize("number", [b"9" * 1_000_000, b"-" + b"9" * 4_400, b"1" * 4_301 + b".5"])
@pytest.mark.parametrize("before", [0, 60_000, 63_000])
def test_a_number_of_too_many_digits_is_refused(reason, number, before):
    assert reason(b'{"x": "' + b"y" * before + b'", "a": ' + number + b"}", "a.json") == "JSON_LIMIT"


def test_a_number_with_a_huge_exponent_is_no_crash(tmp_path):
    assert reading.outcome(tmp_path / "a", b'{"a": 1e999999999, "b": -0.0, "c": 1E-400}', "a.json") == ""


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(
            lambda: docx_with("<w:sdt><w:sdtContent>" * 60 + "<w:p/>" + "</w:sdtContent></w:sdt>" * 60), id="docx"
        ),
        pytest.param(lambda: epub_of({"a.xhtml": "<div>" * 5_000 + "deep" + "</div>" * 5_000}), id="epub"),
        pytest.param(lambda: b"<!doctype html>" + b"<div>" * 20_000 + b"deep" + b"</div>" * 20_000, id="html"),
        pytest.param(lambda: b"<!doctype html>" + b"<table><tr><td>" * 2_000 + b"deep", id="html-tables"),
        pytest.param(lambda: bytes(_nested_mail(300)), id="mail"),
    ],
)
def test_deep_nesting_is_read_or_refused(tmp_path, content):
    reading.outcome(tmp_path / "a", content())


def _nested_mail(depth: int) -> bytes:
    head = b"From: a@x.org\nTo: b@x.org\nSubject: deep\nMIME-Version: 1.0\n"
    levels = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (at, at) for at in range(depth))
    return head + levels + b"Content-Type: text/plain\n\nthe pump\n"


@pytest.mark.parametrize(
    ("content", "reason_", "words"),
    [
        (lambda: ole("EncryptedPackage", "EncryptionInfo"), "OFFICE_ENCRYPTED", "password"),
        (lambda: ole("WordDocument"), "UNSUPPORTED_TYPE", ".doc)"),
        (lambda: ole("Workbook"), "UNSUPPORTED_TYPE", ".xls)"),
        (lambda: ole("PowerPoint Document"), "UNSUPPORTED_TYPE", ".ppt)"),
        (lambda: ole("__properties_version1.0"), "UNSUPPORTED_TYPE", ".msg)"),
        (lambda: ole("Something"), "UNSUPPORTED_TYPE", "old Office version"),
        (lambda: zipped({"a.txt": "x"}), "UNSUPPORTED_TYPE", "a ZIP archive"),
        (lambda: zipped({"mimetype": "application/vnd.oasis.opendocument.text"}), "UNSUPPORTED_TYPE", "OpenDocument"),
        (lambda: zipped({"META-INF/MANIFEST.MF": "x"}), "UNSUPPORTED_TYPE", "Java"),
        (lambda: zipped({"[Content_Types].xml": "<x/>", "xl/workbook.bin": "x"}), "UNSUPPORTED_TYPE", ".xlsb"),
        (lambda: zipped({"[Content_Types].xml": "<x/>"}), "UNSUPPORTED_TYPE", "another kind"),
    ],
)
def test_what_is_inside_is_named(tmp_path, content, reason_, words):
    error = reading.refusal(tmp_path / "a", content(), "a.docx")
    assert error.reason == reason_
    assert words in error.message


def test_a_book_with_copy_protection_is_named(reason):
    locked = '<encryption><EncryptedData><EncryptionMethod Algorithm="{}"/></EncryptedData></encryption>'
    aes, fonts = "http://www.w3.org/2001/04/xmlenc#aes128-cbc", "http://www.idpf.org/2008/embedding"
    assert (
        reason(epub_of({"a.xhtml": XHTML}, extra={"META-INF/encryption.xml": locked.format(aes)})) == "EPUB_ENCRYPTED"
    )
    with pytest.raises(pytest.fail.Exception):
        reason(epub_of({"a.xhtml": XHTML}, extra={"META-INF/encryption.xml": locked.format(fonts)}))


def test_an_archive_with_a_password_is_named(reason):
    content = bytearray(zipped({"a.txt": "x"}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert reason(bytes(content)) == "ARCHIVE_ENCRYPTED"


def test_a_mail_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("services.ingestor.readers.eml.MAX_BYTES", 1_000)
    with pytest.raises(InvalidInput) as caught:
        reading.read(tmp_path / "a", bytes(mail_of("x" * 1_000)), "a.eml")
    assert caught.value.reason == "EML_LIMIT"
