"""Documents of all kinds through the parser's process, as the pipeline reads them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rag.runtime.errors import InvalidInput
from rag.v1 import ingestor_pb2 as pb
from services.ingestor.adapters.child_reader import ChildReader
from services.ingestor.frames import ReaderLimits
from services.ingestor.media_types import CSV, DOCX, EML, EPUB, HTML, JSON, OLE, PPTX, TSV, XLSX, XML, ZIP
from services.ingestor.pages import Opening, Page
from tests.ingestor.documents import docx_of, docx_with, epub_of, mail_of, ole, pptx_of, xlsx_of, zipped

LIMITS = ReaderLimits(memory_bytes=512 << 20, cpu_s=20, cpu_page_s=0.3, cpu_most_s=60, wait_s=60, life_s=60)


KINDS = [
    (docx_of, ZIP, DOCX, "# Pumps"),
    (pptx_of, ZIP, PPTX, "# Welcome"),
    (lambda: xlsx_of({"A": [["Pump", "Bar"], ["P1", 4]]}), ZIP, XLSX, "Pump: P1; Bar: 4"),
    (lambda: epub_of({"a.xhtml": "<h1>One</h1>"}), EPUB, EPUB, "# One"),
    (lambda: b"Pump\tBar\nP1\t4\n", CSV, TSV, "Pump: P1; Bar: 4"),
    (lambda: b'{"pump": "P1"}', JSON, "", "pump: P1"),
    (lambda: b"<?xml version='1.0'?><a><pump>P1</pump></a>", XML, "", "pump: P1"),
    (lambda: bytes(mail_of()), EML, "", "The pump leaks."),
    (lambda: b"<!doctype html><body><p>Oil the pump.</p>", HTML, "", "Oil the pump."),
]
REFUSED = [
    (lambda: zipped({"a.txt": "x"}), ZIP, "UNSUPPORTED_TYPE"),
    (lambda: ole("EncryptedPackage"), OLE, "OFFICE_ENCRYPTED"),
    (lambda: docx_of()[:-30], ZIP, "ARCHIVE_DAMAGED"),
    (lambda: xlsx_of({"A": []}), ZIP, "NO_TEXT"),
    (lambda: b"[]", JSON, "NO_TEXT"),
]


@pytest.fixture
async def reader():
    async with ChildReader.open(LIMITS) as opened:
        yield opened


async def read(reader: ChildReader, path: Path, content: bytes, media_type: str) -> tuple[Opening, list[Page]]:
    path.write_bytes(content)
    async with reader.read(path, media_type) as items:
        opening, *pages = [item async for item in items]
    return opening, pages


async def reason(reader: ChildReader, path: Path, content: bytes, media_type: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        await read(reader, path, content, media_type)
    return caught.value.reason


async def test_each_kind_is_read_and_says_its_true_type(reader, tmp_path):
    for content, sent, found, words in KINDS:
        opening, pages = await read(reader, tmp_path / "a", content(), sent)
        assert opening.media_type == found
        assert words in pages[0].text


async def test_what_cannot_be_read_is_named(reader, tmp_path):
    for content, media_type, expected in REFUSED:
        assert await reason(reader, tmp_path / "a", content(), media_type) == expected


async def test_a_small_file_that_makes_a_large_tree_ends_at_the_memory_limit(reader, tmp_path):
    cell = "<w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p></w:tc>"
    content = docx_with("<w:tbl>" + f"<w:tr>{cell * 5}</w:tr>" * 20_000 + "</w:tbl>")
    assert len(content) < 200_000
    small = ChildReader(reader._server, replace(LIMITS, memory_bytes=48 << 20))
    assert await reason(small, tmp_path / "a", content, ZIP) == "PARSER_MEMORY"


async def test_json_of_any_length_takes_little_memory(reader, tmp_path):
    content = json.dumps([{"pump": f"P{at}", "note": "checked every week"} for at in range(100_000)]).encode()
    small = ChildReader(reader._server, replace(LIMITS, memory_bytes=32 << 20))
    _, pages = await read(small, tmp_path / "a", content, JSON)
    assert sum(page.text.count("pump: ") for page in pages) == 100_000


async def test_the_catalogue_is_told_what_a_document_really_is(mesh):
    async with mesh.ingestor() as client:
        job = await client.index(docx_of(), "report.bin")
    header = mesh.retriever.versions[0].header
    assert (job.state, header.media_type) == (pb.JOB_STATE_READY, DOCX)
