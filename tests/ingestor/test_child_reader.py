"""The parser child: what it reads, what it refuses, and what it dies of."""

from __future__ import annotations

import asyncio
import os
import signal

import psutil
import pytest

from rag.runtime.errors import InvalidInput
from services.ingestor.adapters.child_reader import ChildReader, ReaderLimits
from services.ingestor.pages import Opening, Page
from services.ingestor.sniffing import HTML, MARKDOWN, PDF, TEXT
from tests.ingestor.pdfs import pdf, pdf_with_content
from tests.waiting import until

LIMITS = ReaderLimits(memory_bytes=1 << 30, cpu_s=20, wait_s=60, life_s=60)


async def read(path, media_type, limits=LIMITS) -> tuple[Opening, list[Page]]:
    async with ChildReader(limits).read(path, media_type) as items:
        opening, *pages = [item async for item in items]
    return opening, pages


async def reason(path, media_type, limits=LIMITS) -> str:
    with pytest.raises(InvalidInput) as caught:
        await read(path, media_type, limits)
    return caught.value.reason


async def outcome(path, media_type) -> str:
    try:
        await read(path, media_type)
    except InvalidInput as error:
        return error.reason
    return "pages"


@pytest.fixture
def file(tmp_path):
    def write(content: bytes):
        path = tmp_path / "document"
        path.write_bytes(content)
        return path

    return write


async def test_pdf_pages_come_with_title_and_numbers(file):
    opening, pages = await read(file(pdf(pages=3, title="Handbook")), PDF)
    assert opening == Opening(3, "Handbook")
    assert [page.number for page in pages] == [1, 2, 3]
    assert pages[1].text.startswith("Line 1 of page 2")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Grüße\r\naus Köln\n".encode(), "Grüße\naus Köln\n"),
        ("\ufeffmit Marke".encode(), "\ufeffmit Marke".lstrip("\ufeff")),
        ("breit 漢字".encode("utf-16"), "breit 漢字"),
        ("ohne Marke, lang genug".encode("utf-16-le"), "ohne Marke, lang genug"),
        (
            "Die Prüfung der Geräte erfolgt jährlich; für größere Schäden haftet der Käufer. ".encode("latin-1") * 5,
            None,
        ),
        ("e\u0301te, a whole sentence\x00".encode(), "\u00e9te, a whole sentence"),
    ],
)
async def test_text_comes_in_any_encoding(file, content, text):
    _, pages = await read(file(content), TEXT)
    found = "".join(page.text for page in pages)
    assert found == text if text is not None else "Prüfung der Geräte" in found


async def test_broken_text_is_named(file):
    assert await reason(file(b"caf\xc3\xa9 and \x81\x8d\x8f\x90\x9d\xff\xfe broken " * 3), TEXT) == "BAD_ENCODING"


async def test_markdown_has_its_first_heading_as_title(file):
    opening, pages = await read(file(b"intro\n\n# Pumps #\n\nText *as it is*.\n"), MARKDOWN)
    assert opening.title == "Pumps"
    assert pages == [Page(0, "intro\n\n# Pumps #\n\nText *as it is*.\n")]


async def test_html_gives_its_main_text(file):
    body = "<p>" + "The pump is checked every week by the leader of the shift. " * 8 + "</p>"
    html = f"<html><head><title>Plant</title><script>x=1</script></head><body><nav><a href='/'>Home</a></nav><article><h1>Pumps</h1>{body}<h2>Valves</h2>{body}</article></body></html>"
    opening, pages = await read(file(html.encode()), HTML)
    text = "".join(page.text for page in pages)
    assert opening.title == "Plant"
    assert "## Valves" in text
    assert "x=1" not in text


async def test_html_without_an_article_gives_its_plain_text(file):
    _, pages = await read(file(b"<html><body>Just one line.<script>no</script></body></html>"), HTML)
    assert pages[0].text.strip() == "Just one line."


@pytest.mark.parametrize("content", [b"%PDF-1.4\n", pdf(pages=2)[:900], pdf()[:-2000], b"%PDF-1.4" + bytes(3000)])
async def test_a_cut_pdf_ends_with_a_reason_or_with_pages(file, content):
    assert await outcome(file(content), PDF) in {"PDF_DAMAGED", "PDF_NO_TEXT", "pages"}


@pytest.mark.parametrize(("password", "found"), [("secret", "PDF_ENCRYPTED"), ("", None)])
async def test_a_password_that_is_not_empty_is_needed(file, password, found):
    path = file(pdf(password=password))
    if found:
        assert await reason(path, PDF) == found
    else:
        assert len((await read(path, PDF))[1]) == 3


async def test_a_pdf_that_unpacks_to_too_much_is_refused(file):
    path = file(pdf_with_content(b"BT /F1 12 Tf (hello) Tj ET " + b" " * 100_000_000))
    assert path.stat().st_size < 200_000
    assert await reason(path, PDF) in {"PDF_LIMIT", "PDF_DAMAGED"}


async def test_many_pages_of_one_dense_stream_run_into_the_cpu_limit(file):
    path = file(pdf_with_content(b"BT /F1 12 Tf (hello) Tj ET " * 20_000, pages=500))
    limits = ReaderLimits(memory_bytes=1 << 30, cpu_s=2, wait_s=60, life_s=60)
    assert await reason(path, PDF, limits) == "PARSER_TIMEOUT"


async def test_a_document_that_takes_too_much_memory_ends_its_child(file):
    path = file(b"<html><body>" + b"<p>The pump is checked.</p>" * 400_000 + b"</body></html>")
    limits = ReaderLimits(memory_bytes=128 << 20, cpu_s=60, wait_s=60, life_s=60)
    assert await reason(path, HTML, limits) in {"PARSER_MEMORY", "PARSER_CRASHED", "HTML_DAMAGED"}


async def test_a_child_that_stops_answering_runs_out_of_time(file):
    path = file(pdf_with_content(b"BT /F1 12 Tf (hello) Tj ET " * 20_000, pages=500))
    limits = ReaderLimits(memory_bytes=1 << 30, cpu_s=60, wait_s=1, life_s=60)
    assert await reason(path, PDF, limits) == "PARSER_TIMEOUT"


async def test_a_killed_child_is_a_crash(file):
    reading = asyncio.create_task(reason(file(pdf(pages=400)), PDF))
    await until(lambda: bool(_children()))
    for child in _children():
        os.kill(child.pid, signal.SIGKILL)
    assert await reading == "PARSER_CRASHED"


async def test_leaving_early_leaves_no_child(file):
    path = file(pdf(pages=300))
    async with ChildReader(LIMITS).read(path, PDF) as items:
        await anext(items)
        assert _children()
    assert not _children()
    task = asyncio.create_task(read(path, PDF))
    await until(lambda: bool(_children()))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not _children()


def _children() -> list[psutil.Process]:
    found = psutil.Process().children()
    return [child for child in found if "services.ingestor.readers" in " ".join(_command(child))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
