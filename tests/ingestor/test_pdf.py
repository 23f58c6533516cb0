"""The PDF reader: text by page, what a document says about itself, passwords, and files that are broken."""

from __future__ import annotations

import io

import pypdf
import pytest

from rag.runtime.errors import InvalidInput
from services.ingestor.pages import Opening, Page
from services.ingestor.readers import pdf as reader
from services.ingestor.readers.pdf_file import PdfFile
from tests.ingestor import pdfs


@pytest.fixture
def read(tmp_path):
    def reading(content: bytes, password: str = "") -> tuple[Opening, list[Page]]:
        path = tmp_path / "document.pdf"
        path.write_bytes(content)
        opening, *pages = reader.read(path, password)
        return opening, pages

    return reading


def reason(read, content: bytes, password: str = "") -> str:
    with pytest.raises(InvalidInput) as caught:
        read(content, password)
    return caught.value.reason


def outcome(read, content: bytes) -> str:
    try:
        read(content)
    except InvalidInput as error:
        return error.reason
    return "pages"


def test_pages_come_with_their_numbers(read):
    opening, pages = read(pdfs.pdf(pages=12, title="Handbook"))
    assert (opening.pages_total, opening.title) == (12, "Handbook")
    assert [page.number for page in pages] == list(range(1, 13))
    assert pages[10].text.startswith("Line 1 of page 11")


def test_what_the_document_says_about_itself_is_kept(read):
    about = {"author": " Ada\nLovelace ", "subject": "S" * 5_000, "keywords": "pumps, valves"}
    metadata = read(pdfs.pdf(about=about))[0].metadata
    assert metadata["source_author"] == "Ada Lovelace"
    assert metadata["source_keywords"] == "pumps, valves"
    assert metadata["source_created"].startswith("2000-01-01")
    assert metadata["source_modified"].startswith("2000-01-01")
    assert len(metadata["source_subject"]) == 500


def test_a_document_that_says_nothing_about_itself_has_no_metadata(read):
    assert read(pdfs.pdf_with_content(pdfs.WORDS))[0] == Opening(pages_total=1)


@pytest.mark.parametrize(
    "info",
    [b"<< /Title 12 /CreationDate (soon) /Author (Ada) >>", b"<< /Title [1 2] /ModDate /Never /Author (Ada) >>"],
)
def test_a_document_that_is_wrong_about_itself_is_read(read, info):
    opening, pages = read(pdfs.pdf_with_content(pdfs.WORDS, info=info))
    assert opening.metadata == {"source_author": "Ada"}
    assert pages[0].text == "hello"


@pytest.mark.parametrize("strength", [40, 128])
def test_an_empty_user_password_keeps_nobody_out(read, strength):
    assert len(read(pdfs.pdf(password="", strength=strength))[1]) == 3


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128", "AES-128", "AES-256"])
@pytest.mark.parametrize("password", ["secret", "owner"])
def test_the_password_of_user_or_owner_opens(read, algorithm, password):
    locked = pdfs.locked(pdfs.pdf(), "secret", "owner", algorithm)
    assert reason(read, locked) == "PDF_ENCRYPTED"
    assert reason(read, locked, "wrong") == "PDF_PASSWORD_WRONG"
    assert read(locked, password)[1][0].text.startswith("Line 1 of page 1")


def test_a_password_for_an_open_document_is_not_needed(read):
    assert len(read(pdfs.pdf(), "secret")[1]) == 3


def test_an_encryption_that_is_not_known_is_named(read):
    locked = pdfs.pdf_with_content(pdfs.WORDS, trailer=b"/Encrypt << /Filter /Strange /V 9 >>")
    assert reason(read, locked) == "PDF_ENCRYPTION_UNKNOWN"


def test_a_scan_is_reported_as_such(read):
    assert reason(read, pdfs.image_only_pdf()) == "PDF_NO_TEXT"


@pytest.mark.parametrize(
    "content", [b"%PDF-1.4\n", pdfs.pdf(pages=2)[:900], pdfs.pdf()[:-2000], b"%PDF-1.4" + bytes(3000)]
)
def test_a_cut_document_ends_with_a_reason_or_with_pages(read, content):
    assert outcome(read, content) in {"PDF_DAMAGED", "PDF_NO_TEXT", "pages"}


def test_a_page_that_cannot_be_read_is_skipped_and_the_others_are_not(read):
    pages = read(pdfs.pdf_with_contents([pdfs.WORDS, b" " * 30_000_000, pdfs.WORDS]))[1]
    assert [(page.text, page.skipped) for page in pages] == [("hello", False), ("", True), ("hello", False)]


def test_objects_inside_streams_are_parsed_when_they_are_needed(read):
    content = pdfs.pdf_with_object_stream(idle=500)
    with pypdf.PdfReader(io.BytesIO(content)) as plain:
        text = plain.pages[0].extract_text()
        assert len(plain.resolved_objects) > 500
    document = PdfFile(io.BytesIO(content))
    assert document.pages[0].extract_text() == text == "hello"
    assert len(document.resolved_objects) < 10
    assert read(content)[1][0].text == "hello"


@pytest.mark.parametrize("head", [b"", b"x y z", b"1 99999999 2", b"-1 -1 1 -5", b"1"])
def test_an_object_stream_with_a_broken_head_is_damage(read, head):
    assert reason(read, pdfs.pdf_with_object_stream(head=head)) == "PDF_DAMAGED"


def test_an_object_stream_inside_itself_is_damage(read):
    assert reason(read, pdfs.pdf_with_object_stream(cyclic=True)) == "PDF_DAMAGED"


def test_pages_inherit_from_their_tree(read):
    inherited = pdfs.pdf_with_content(pdfs.WORDS, pages=3, inherit=True)
    assert [page.text for page in read(inherited)[1]] == ["hello"] * 3


def test_blank_pages_and_forms_may_repeat(read):
    pages = read(pdfs.pdf_with_content(pdfs.WORDS * 20, pages=1_000))[1]
    assert len(pages) == 1_000
    assert len({page.text for page in pages}) == 1


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (pdfs.flate_bomb, "unpacks to more"),
        (pdfs.double_flate_bomb, "unpacks to more"),
        (pdfs.operators_bomb, "unpacks to more"),
        (pdfs.shared_stream_bomb, "same content"),
    ],
)
def test_a_bomb_is_named(read, make, cause):
    with pytest.raises(InvalidInput, match=cause) as caught:
        read(make())
    assert caught.value.reason == "PDF_LIMIT"
