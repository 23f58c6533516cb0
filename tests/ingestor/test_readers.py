"""Tables, JSON, XML, mails and web pages as text that can be found and quoted."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingestor.media_types import CSV, EML, JSON, JSON_LINES, TSV, XML
from services.ingestor.readers.tables import markdown, named_rows
from tests.ingestor import reading
from tests.ingestor.documents import mail_of

PARA = "<p>" + "The pump is checked every week by the leader of the shift. " * 4 + "</p>"
CELLS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1, max_size=8)
SCALARS = st.one_of(st.integers(), st.booleans(), CELLS.filter(lambda text: "|" not in text))
SLOW = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def read(tmp_path) -> reading.Reading:
    return lambda content, name="document": reading.read(tmp_path / "document", content, name)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Team,City\nBlues,STL\nLeafs,\n", "Team: Blues; City: STL\nTeam: Leafs\n"),
        ("Year;Costs\n2022;-123,5\n", "Year: 2022; Costs: -123,5\n"),
        ("Cups,,\nTeam,City,Won\nBlues,STL,1\n", "Cups\nTeam: Blues; City: STL; Won: 1\n"),
        ("1,2\n3,4\n", "1 | 2\n3 | 4\n"),
        ("name\nAnn\nBob", "name\nAnn\nBob\n"),
        ('Name,Said\nAnn,"Hello,\nBob; ""dear"""\n', 'Name: Ann; Said: Hello, Bob; "dear"\n'),
        ("Name,Duty\n" + "Ann," + "oil " * 200 + "\n", "Name: Ann\nDuty: " + ("oil " * 200).strip() + "\n\n"),
        ("Pump,Bar\nonly heads\n", "Pump: only heads\n"),
        ("Pump,Bar\n", "Pump | Bar\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_csv_rows_carry_the_names_of_their_columns(read, content, text, encoding):
    document = read(content.encode(encoding), "a.csv")
    assert (document.media_type, document.text) == (CSV, text)


def test_tabs_separate_too(read):
    document = read(b"Team\tCity\nBlues\tSTL, MO\n", "a.tsv")
    assert (document.media_type, document.text) == (TSV, "Team: Blues; City: STL, MO\n")


@SLOW
@given(rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=20))
def test_csv_loses_no_cell(read, rows):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([["Alpha", "Beta", "Gamma"], *rows])
    text = read(out.getvalue().encode(), "a.csv").text
    assert text == "".join(named_rows([["Alpha", "Beta", "Gamma"], *reading_form(rows)]))
    assert text.count("\n") >= len([row for row in rows if row != ["Alpha", "Beta", "Gamma"]])


def reading_form(rows: list[list[str]]) -> list[list[str]]:
    """What reading does to any text: it is put in NFC."""
    from services.ingestor.readers.parts import clean

    return [[clean(cell) for cell in row] for row in rows]


def test_a_markdown_table_keeps_its_columns():
    assert (
        markdown([["a", "b|c"], ["d"], [], ["", ""], ["e", "f\ng"]])
        == "| a | b\\|c |\n| --- | --- |\n| d |  |\n| e | f g |"
    )
    assert markdown([[], [""]]) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"name": "Ann", "age": 30}, "name: Ann\nage: 30\n\n"),
        ({"at": {"city": "Köln", "zip": None}}, "at.city: Köln\n\n"),
        ({"likes": ["oil", "tea", 3, True]}, "likes: oil, tea, 3, true\n\n"),
        ([{"a": 1}, {"a": 2}], "a: 1\n\na: 2\n\n\n"),
        ({"orders": [{"id": 1}, {"id": 2}]}, "orders[0].id: 1\norders[1].id: 2\n\n"),
        ([[1, 2], [3]], "1, 2\n\n3\n\n\n"),
        (["a", "b"], "a, b\n\n"),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_json_values_carry_their_paths(read, value, text, indent):
    document = read(json.dumps(value, indent=indent).encode(), "a.json")
    assert (document.media_type, document.text) == (JSON, text)


def test_json_lines_are_records(read):
    document = read(b'{"a": 1}\n{"a": {"b": [2, 3]}}\n')
    assert (document.media_type, document.text) == (JSON_LINES, "a: 1\n\na.b: 2, 3\n\n")


@SLOW
@given(
    records=st.lists(
        st.dictionaries(CELLS, st.one_of(SCALARS, st.dictionaries(CELLS, SCALARS, max_size=3)), min_size=1), min_size=1
    )
)
def test_json_loses_no_value(read, records):
    from services.ingestor.readers.parts import clean

    text = read(json.dumps(records).encode(), "a.json").text
    for record in records:
        for key, value in record.items():
            for path, scalar in (
                {f"{key}.{inner}": one for inner, one in value.items()}.items()
                if isinstance(value, dict)
                else [(key, value)]
            ):
                shown = json.dumps(scalar) if isinstance(scalar, bool) else str(scalar)
                assert clean(f"{path}: {shown}\n") in text


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'{"a": 1,\n "b": [2,\n 3', 3),
        (b'{\n"a": 1\n"b": 2}', 3),
        (b'[\n\n{"a": tru}]', 3),
        (b'{"a": 1}\n{"a": 2}\n{"a"', 3),
    ],
)
def test_broken_json_is_told_with_its_line(tmp_path, content, line):
    error = reading.refusal(tmp_path / "a", content, "a.json")
    assert (error.reason, error.metadata["line"]) == ("JSON_DAMAGED", str(line))
    assert f"line {line}" in error.message


def test_xml_elements_carry_their_names_and_prose_stays_whole(read):
    content = (
        "<?xml version='1.0' encoding='utf-16'?><book><!-- no --><item id='1'><name>Pump</name><bar>4 &amp; 5</bar></item>"
        "<item><name>Valve</name></item><par>Oil the <b>pump</b> well.</par></book>"
    )
    document = read(content.encode("utf-16"), "a.xml")
    assert document.media_type == XML
    assert document.text == "name: Pump\nbar: 4 & 5\n\nname: Valve\n\nOil the pump well.\n\n\n"


def test_a_mail_says_who_wrote_what_to_whom(read):
    document = read(bytes(mail_of("The pump leaks.\n", html="<p>Not this</p>", attachment="plan.pdf")), "a.txt")
    assert (document.media_type, document.opening.title) == (EML, "Pump Größe")
    assert document.opening.metadata == {
        "source_from": "Ann Lee <ann@example.com>",
        "source_to": "bob@example.com",
        "source_date": "2024-05-06T07:08:09+00:00",
        "source_message_id": "<1@example.com>",
        "source_attachments": "plan.pdf",
    }
    assert document.text == (
        "# Pump Größe\n\nFrom: Ann Lee <ann@example.com>\nTo: bob@example.com\nDate: Mon, 06 May 2024 07:08:09 +0000\n\n"
        "The pump leaks.\n\nAttachments: plan.pdf"
    )


@pytest.mark.parametrize("encoding", ["iso-8859-1", "utf-8"])
def test_a_mail_in_html_is_read_in_its_encoding(read, encoding):
    mail = mail_of("", html="<h1>Größe</h1><p>The pump<br>leaks.</p><script>no</script>")
    mail.set_content("<h1>Größe</h1><p>The pump<br>leaks.</p><script>no</script>", subtype="html", charset=encoding)
    assert read(bytes(mail), "a.eml").text.endswith("# Größe\n\nThe pump\nleaks.")


def test_mails_inside_a_mail_are_read(read):
    outer = mail_of("See below.", subject="Forwarded")
    outer.add_attachment(mail_of("Inner words.", subject="Inner"))
    assert "See below." in read(bytes(outer), "a.eml").text
    digest = mail_of("x")
    digest.clear_content()
    digest.make_mixed()
    digest.attach(outer.get_payload(1))
    text = read(bytes(digest), "a.eml").text
    assert "# Inner" in text
    assert "Inner words." in text


def test_an_encrypted_mail_is_named(tmp_path):
    content = b"From: a@x.org\nTo: b@x.org\nMime-Version: 1.0\nContent-Type: multipart/encrypted; boundary=foo\n\n--foo\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--foo--\n"
    assert reading.outcome(tmp_path / "a", content, "a.eml") == "EML_ENCRYPTED"


def test_html_gives_its_main_text_and_what_it_says_of_itself(read):
    menu = "<nav><ul><li><a href='/'>Home</a></li><li><a href='/a'>About us</a></li></ul></nav>"
    head = (
        "<title>Plant</title><meta name='author' content='Ann Lee'><meta property='og:description' content='On pumps'>"
        "<link rel='canonical' href='https://x.org/p'>"
    )
    table = "<table><tr><th>Pump</th><th>Bar</th></tr><tr><td>P1</td><td>4</td></tr></table>"
    content = (
        f"<!doctype html><html lang='en'><head>{head}</head><body><header>{menu}</header><div><h1>Pumps</h1>{PARA}"
        f"<h2>Weekly <em>check</em></h2>{PARA}<ul><li>Look at <b>oil</b></li></ul>{table}{PARA}</div>"
        "<footer>Copyright 2024. <a href='/p'>Privacy policy</a></footer></body></html>"
    )
    document = read(content.encode(), "a.html")
    assert document.opening.title == "Plant"
    assert document.opening.metadata == {
        "source_author": "Ann Lee",
        "source_description": "On pumps",
        "source_url": "https://x.org/p",
        "source_language": "en",
    }
    for words in ("# Pumps\n", "## Weekly check\n", "- Look at oil\n", "| P1 | 4 |"):
        assert words in document.text
    for words in ("Home", "About us", "Copyright", "Privacy", "**"):
        assert words not in document.text
    assert document.text.count("The pump is checked") == 12


def test_a_page_laid_out_by_a_table_is_read_as_text(read):
    content = f"<html><body><table><tr><td><h1>Pumps</h1>{PARA}{PARA}</td></tr></table></body></html>"
    text = read(content.encode()).text
    assert text.startswith("# Pumps\n")
    assert "|" not in text


def test_html_without_main_text_gives_all_of_it(read):
    content = (
        "<html><body><h1>A</h1><ul><li>x<ul><li>y</li></ul></li></ul><pre>a\n  b</pre><script>no</script></body></html>"
    )
    assert read(content.encode()).text.split() == ["#", "A", "-", "x", "-", "y", "```", "a", "b", "```"]
