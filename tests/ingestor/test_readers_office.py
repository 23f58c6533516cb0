"""Office documents and e-books: their text in order, with headings, tables, numbers and what they say of themselves."""

from __future__ import annotations

import datetime as dt

import pytest

from services.ingestor.media_types import DOCX, EPUB, PPTX, XLSX
from tests.ingestor import reading
from tests.ingestor.documents import changed, docx_of, docx_with, epub_of, pptx_of, xlsx_of


@pytest.fixture
def read(tmp_path) -> reading.Reading:
    return lambda content, name="document": reading.read(tmp_path / "document", content, name)


def test_docx_gives_headings_lists_tables_and_boxes_in_order(read):
    document = read(docx_of(), "letter.pdf")
    assert document.media_type == DOCX
    assert document.opening.title == "Pump handbook"
    assert document.opening.metadata["source_author"] == "Ann Lee"
    assert document.opening.metadata["source_created"] == "2024-05-06T07:08:09Z"
    assert document.text.split("\n\n") == [
        "# Pumps",
        "The pump is checked every week.",
        "## Tools",
        "- Wrench\n- Oil\n1. Open the lid\n2. Look inside",
        "| Pump | Pressure |\n| --- | --- |\n| P1 | 4 \\| 5 bar |\n| P2 | low, high |",
        "Framed words",
        "After the tables.",
        "Boxed words",
        "",
    ]


def test_docx_leaves_out_headers_footers_and_deleted_text(read):
    assert "HEADER" not in read(docx_of()).text
    text = read(
        docx_with(
            "<w:p><w:r><w:t>Kept </w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
            "<w:ins><w:r><w:t>added</w:t></w:r></w:ins><w:moveFrom><w:r><w:t>moved</w:t></w:r></w:moveFrom></w:p>"
        )
    ).text
    assert text == "Kept added\n\n"


def test_docx_reads_through_content_controls_and_merged_cells(read):
    cell = "<w:tc><w:tcPr>{}</w:tcPr><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc>"
    rows = "".join(
        f"<w:tr>{''.join(cell.format(*each) for each in row)}</w:tr>"
        for row in (
            (('<w:gridSpan w:val="2"/>', "wide"), ("", "x")),
            (('<w:vMerge w:val="restart"/>', "tall"), ("", "a"), ("", "b")),
            (("<w:vMerge/>", "hidden"), ("", "c"), ("", "d")),
        )
    )
    control = "<w:sdt><w:sdtContent><w:p><w:r><w:t>In a control</w:t></w:r></w:p></w:sdtContent></w:sdt>"
    text = read(docx_with(f"{control}<w:tbl>{rows}</w:tbl>")).text
    assert text == "In a control\n\n| wide |  | x |\n| --- | --- | --- |\n| tall | a | b |\n|  | c | d |\n\n"


def test_docx_with_a_title_of_its_own_nests_its_headings(read):
    paragraph = '<w:p><w:pPr><w:pStyle w:val="{}"/></w:pPr><w:r><w:t>{}</w:t></w:r></w:p>'
    content = docx_with(paragraph.format("Title", "Handbook") + paragraph.format("Heading1", "Pumps"))
    document = read(changed(content, {"docProps/core.xml": "<a/>"}))
    assert document.opening.title == "Handbook"
    assert document.opening.metadata == {}
    assert document.text == "# Handbook\n\n## Pumps\n\n"


def test_docx_repeats_the_head_of_a_long_table(read):
    row = "<w:tr>" + "<w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc>" * 2 + "</w:tr>"
    rows = row.format("Name", "Duty") + "".join(row.format(f"P{at}", "pumps " * 10) for at in range(100))
    text = read(docx_with(f"<w:tbl>{rows}</w:tbl>")).text
    assert text.count("| Name | Duty |") > 3
    assert all(text.count(f"| P{at} |") == 1 for at in range(100))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"document.main+xml", b"template.main+xml"),
        (
            b"vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml",
            b"vnd.ms-word.document.macroEnabled.main+xml",
        ),
    ],
)
def test_templates_and_documents_with_macros_are_read_too(read, old, new):
    assert "# Pumps" in read(_retyped(docx_of(), old, new)).text


def test_a_slide_show_is_read_too(read):
    assert len(read(_retyped(pptx_of(), b"presentation.main+xml", b"slideshow.main+xml")).pages) == 3


def test_pptx_gives_a_page_for_each_slide(read):
    document = read(pptx_of())
    assert document.media_type == PPTX
    assert (document.opening.pages_total, document.opening.title) == (3, "Plant tour")
    assert document.opening.metadata["source_author"] == "Ann Lee"
    assert [page.number for page in document.pages] == [1, 2, 3]
    assert [page.text for page in document.pages] == [
        "# Welcome\n\nA tour of hall 3\n\nNotes:\nGreet the guests",
        "# Pumps\n\n| Pump | Bar |\n| --- | --- |\n| P1 | 4 |\n\nGrouped words",
        "# Order\n\nLook\n- at the oil",
    ]


def test_xlsx_gives_a_page_for_each_sheet_with_named_columns(read):
    day = dt.datetime.fromisoformat("2024-05-06")
    document = read(
        xlsx_of(
            {
                "Pressure": [
                    ["Weekly readings"],
                    [],
                    ["Pump", "Day", "Bar", "OK"],
                    ["P1", day, 4.5, True],
                    ["P2", day, 5.0, None],
                ],
                "Empty": [],
                "Numbers": [[1, 2], [3, 4]],
                "Log": [["At"], [day.replace(hour=7)], [dt.time(8, 30)]],
            }
        )
    )
    assert document.media_type == XLSX
    assert (document.opening.pages_total, document.opening.title) == (4, "Readings")
    assert document.opening.metadata["source_author"] == "Ann Lee"
    assert [page.text for page in document.pages] == [
        "# Pressure\n\nWeekly readings\nPump: P1; Day: 2024-05-06; Bar: 4.5; OK: TRUE\nPump: P2; Day: 2024-05-06; Bar: 5\n",
        "",
        "# Numbers\n\n1 | 2\n3 | 4\n",
        "# Log\n\nAt\n2024-05-06 07:00:00\n08:30:00\n",
    ]


def test_xlsx_with_many_rows_comes_in_parts_of_one_page(read):
    pages = read(xlsx_of({"A": [["Pump", "Bar"], *([f"P{at}", at] for at in range(5_000))]})).pages
    assert len(pages) > 1
    assert {page.number for page in pages} == {1}
    assert [page.continues for page in pages] == [False, *[True] * (len(pages) - 1)]
    assert all(page.text.startswith(("# A", "Pump: ")) for page in pages)


def test_xlsx_that_says_nothing_of_itself_gets_no_dates_made_up(read):
    content = changed(xlsx_of({"A": [["x"]]}), {"docProps/core.xml": "<a/>"})
    assert read(content).opening.metadata == {}


def test_epub_gives_a_page_for_each_chapter_of_the_spine(read):
    chapter = "<h1>Chapter <i>one</i></h1><p>Oil&nbsp;it. <br/>Daily.</p><ul><li>Look</li></ul><title/><script/>"
    table = "<table><tr><th>Pump</th><th>Bar</th></tr><tr><td>P1</td><td>4</td></tr></table>"
    document = read(epub_of({"one%201.xhtml": "", "a.xhtml": chapter, "b.xhtml": table}, missing=["gone.xhtml"]))
    assert document.media_type == EPUB
    assert (document.opening.pages_total, document.opening.title) == (4, "The Pump")
    assert document.opening.metadata == {"source_author": "Ann Lee", "source_language": "en"}
    assert [(page.number, page.skipped) for page in document.pages] == [(1, True), (2, False), (3, False), (4, True)]
    assert document.pages[1].text == "# Chapter one\n\nOil it.\nDaily.\n\n- Look"
    assert document.pages[2].text == "| Pump | Bar |\n| --- | --- |\n| P1 | 4 |"


def _retyped(content: bytes, old: bytes, new: bytes) -> bytes:
    return changed(content, {"[Content_Types].xml": _types(content).replace(old, new)})


def _types(content: bytes) -> bytes:
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(content)) as source:
        return source.read("[Content_Types].xml")
