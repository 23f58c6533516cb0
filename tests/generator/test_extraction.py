from __future__ import annotations

import pytest

from services.generator.adapters.extractive_chat import ExtractiveChat
from services.generator.citing.citations import CitationChecker
from services.generator.events import Citation, FinishReason
from services.generator.extraction.extracts import extract
from services.generator.writing.chat import Finish
from tests.generator.making import prompt_of, sources

CORPUS = (
    (
        "Overview\nThe mesh has five services. Each one is a process of its own. The gateway is the door for browsers, and "
        "it listens on port 8080 by default."
    ),
    (
        "Uploads are stored before they are read. A job is retried three times before it is moved to the dead letter list. "
        "Operators see failed jobs in the dashboard."
    ),
    (
        "Table of contents .......... 3\nThe embedding model has 384 dimensions and reads at most 256 tokens. Longer texts "
        "are cut, as was shown earlier [2, 14]. Vectors are cached for 30 days."
    ),
    "What happens when Redis is down? Answers are still given, but nothing is cached, and new uploads are refused.",
)


@pytest.mark.parametrize(
    ("question", "number", "part"),
    [
        ("Which port does the gateway listen on?", 1, "port 8080"),
        ("How many times is a job retried?", 2, "three times"),
        ("How many dimensions does the embedding model have?", 3, "384 dimensions"),
        ("How long are vectors cached?", 3, "30 days"),
        ("What happens when Redis is down?", 4, "Answers are still given"),
        ("Where do operators look for jobs that failed?", 2, "dashboard"),
    ],
)
def test_the_first_sentence_is_the_one_that_answers(question: str, number: int, part: str) -> None:
    best = extract(question, sources(*CORPUS))[0]
    assert best.number == number
    assert part in best.text


def test_headings_contents_lines_and_foreign_markers_are_left_out() -> None:
    extracts = extract("How are texts cut by the embedding model?", sources(*CORPUS))
    shown = " ".join(found.text for found in extracts)
    assert "....." not in shown
    assert "Overview" not in shown
    assert "[2, 14]" not in shown
    assert "Longer texts are cut, as was shown earlier." in shown


def test_prose_is_preferred_to_code_that_shares_its_words() -> None:
    code = '```sh\nask "When does the harbour close?" | jq ".when.does.the.harbour.close"\n```'
    (first, *_) = extract("When does the harbour close?", sources(code, "The harbour closes at nine in the evening."))
    assert first.text == "The harbour closes at nine in the evening."


def test_the_same_sentence_in_two_passages_is_said_once() -> None:
    same = "The warranty lasts two years from the day of purchase."
    extracts = extract("How long does the warranty last?", sources(same, f"{same} Keep the receipt safe at home."))
    assert [found.text for found in extracts].count(same) == 1


def test_a_question_that_shares_no_word_gets_the_best_ranked_passage() -> None:
    extracts = extract(
        "Zebra quagga?", sources("The first passage is here to be read.", "The second one is not so near.")
    )
    assert extracts[0].number == 1


def test_chinese_is_found_by_its_characters() -> None:
    extracts = extract("首都是哪里？", sources("东京是日本的首都。大阪是一个大城市。富士山很高。"))
    assert extracts[0].text == "东京是日本的首都。"


def test_passages_without_a_sentence_give_no_extract() -> None:
    assert extract("What?", sources(" \n ")) == []


async def test_every_extract_is_cited_with_itself_as_the_quote() -> None:
    prompt = prompt_of("How many dimensions does the embedding model have, and what is cached?", *CORPUS)
    pieces = [piece async for piece in ExtractiveChat().stream(prompt)]
    finish = pieces.pop()
    assert isinstance(finish, Finish)
    assert (finish.reason, finish.provider, finish.input_tokens, finish.output_tokens) == (
        FinishReason.STOP,
        "extractive",
        0,
        0,
    )
    checker = CitationChecker(prompt.sources)
    out = [found for piece in pieces for found in checker.feed(piece)]
    citations = [found for found in out if isinstance(found, Citation)]
    assert checker.dropped == 0
    assert len(citations) == len(pieces) >= 2
    for piece, citation in zip(pieces, citations, strict=True):
        assert piece.strip() == f"{' '.join(citation.quote.split())} [{citation.number}]"
