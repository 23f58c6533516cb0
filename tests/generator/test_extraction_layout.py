from __future__ import annotations

import pytest

from services.generator.extraction.candidates import candidates
from services.generator.extraction.extracts import extract
from services.generator.extraction.layout import Kind, pieces
from services.generator.extraction.quotable import JOINT, OMITTED, Form
from tests.generator.making import sources

FIGURES = (
    "Net sales by product were as follows (in millions):\n"
    "Three Months Ended\nApril 1,\n2023\nMarch 26,\n2022\n"
    "Phones $ 51,334 $ 50,570 \nTablets 6,670 7,646 \nResearch and development 7,457 6,387 \n"
    "Total net sales include 3.5 billion of revenue that was deferred in the year before, and nothing else of note.\n"
    "Example Inc. | Q2 2023 Form 10-Q | 7"
)
CELLS = (
    "3.8 Ingestor\nThe ingestor has the queue, the parsers and the ways in, and all of them have settings of their own.\n"
    " Variable\nDefault\nMeaning\nMAX_UPLOAD_BYTES\n209715200\nThe largest upload.\n"
    "MAX_QUEUED\n10000\nHow many jobs may be unfinished; uploads beyond are refused.\n"
    "CONCURRENCY\n2\nDocuments indexed at once by one process.\n7"
)
MARKED = "| Reason | What it means |\n|---|---|\n| `QUEUE_FULL` | Too many jobs wait |\n| `TIMED_OUT` | A job took too long |"


def kinds(text: str) -> list[Kind]:
    return [piece.kind for piece in pieces(text)]


def shown(text: str) -> list[str]:
    return [candidate.text for candidate in candidates(sources(text)[0])]


def test_a_row_of_figures_is_shown_with_the_head_of_its_table() -> None:
    first = extract("How much was spent on research and development?", sources(FIGURES))[0]
    head, row = first.text.split(OMITTED)
    assert row == "Research and development 7,457 6,387"
    assert head == "Net sales by product were as follows (in millions): Three Months Ended April 1, 2023 March 26, 2022"


def test_the_end_of_a_date_makes_no_row_of_figures() -> None:
    text = "The lease of the second warehouse in the harbour, which was signed in May, ends on December 31, 2022\nand is not renewed."
    assert shown(text) == [" ".join(text.split())]


def test_page_numbers_and_running_lines_are_no_text() -> None:
    text = "Example Inc. | Q2 2023 Form 10-Q | 7\nThe harbour closes at nine in the evening.\n12"
    assert shown(text) == ["The harbour closes at nine in the evening."]


def test_cells_on_lines_of_their_own_are_one_row() -> None:
    first = extract("How many jobs may be unfinished?", sources(CELLS))[0]
    assert first.text == JOINT.join(
        ["MAX_QUEUED", "10000", "How many jobs may be unfinished; uploads beyond are refused."]
    )


def test_the_names_of_columns_belong_to_no_row() -> None:
    assert JOINT.join(["MAX_UPLOAD_BYTES", "209715200", "The largest upload."]) in shown(CELLS)


def test_a_row_of_markdown_is_shown_without_its_lines() -> None:
    assert shown(MARKED) == ["`QUEUE_FULL` · Too many jobs wait", "`TIMED_OUT` · A job took too long"]


def test_a_table_that_goes_on_from_the_passage_before_has_no_head_to_leave_out() -> None:
    assert len(shown(MARKED.partition("|---|---|\n")[2])) == 2


@pytest.mark.parametrize("heading", ["## Opening hours", "2.1 Opening hours", "Opening hours"])
def test_a_heading_is_not_glued_to_the_sentence_below(heading: str) -> None:
    sentence = "The harbour closes at nine in the evening, and on Sundays it does not open before the afternoon."
    assert shown(f"{heading}\n{sentence}") == [sentence]


def test_a_heading_says_what_a_sentence_below_it_is_about() -> None:
    hours = "The first hall closes at nine in the evening, and on Sundays it does not open before the afternoon."
    text = f"Library\n{hours}\nMuseum\n{hours.replace('nine', 'six')}"
    assert "six" in extract("When does the first hall of the museum close?", sources(text))[0].text


def test_what_a_colon_introduces_is_shown_with_it() -> None:
    text = "To switch it on without a restart:\n\n```\nserver config set durable yes\n```\n\nNothing else is needed."
    best = extract("How do I switch it on without a restart?", sources(text))[0]
    assert best.text == "To switch it on without a restart: server config set durable yes"


def test_a_list_is_shown_with_its_introduction() -> None:
    text = "A search has these modes:\n\n- hybrid, the default\n- dense, by meaning\n- keyword, by words"
    best = extract("Which modes does a search have?", sources(text))[0]
    assert best.text == "A search has these modes: hybrid, the default · dense, by meaning · keyword, by words"


def test_code_between_fences_is_code_whatever_it_looks_like() -> None:
    found = list(candidates(sources("```\nThis is no sentence.\n```")[0]))
    assert [candidate.form for candidate in found] == [Form.CODE]


def test_prose_has_the_kinds_of_prose() -> None:
    text = "A sentence stands here, and it is long enough to be one.\n- An item of a list that says something."
    assert kinds(text) == [Kind.SENTENCE, Kind.ITEM]


def test_a_definition_comes_before_other_uses_of_its_name() -> None:
    text = "A lease ends with its worker. Nobody holds a lease for long.\n- Lease: the right of one worker to a job."
    assert extract("What is a lease?", sources(text))[0].text == "Lease: the right of one worker to a job."


def test_a_question_whose_words_are_nowhere_gets_one_sentence_and_not_five() -> None:
    text = "One sentence stands here. Another stands here. A third one follows them. A fourth is the last of them."
    assert len(extract("Zebra quagga?", sources(text, text.replace("here", "there")))) == 1


def test_a_quarter_is_found_by_either_of_its_names() -> None:
    text = "In the second quarter sales rose by ten percent. In the third quarter sales fell by six percent."
    assert "six" in extract("What became of sales in Q3?", sources(text))[0].text
