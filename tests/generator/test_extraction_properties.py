from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.generator.extraction.candidates import candidates
from services.generator.extraction.extracts import extract
from services.generator.extraction.layout import pieces
from tests.generator.making import sources

LINES = st.sampled_from(
    [
        "The harbour closes at nine in the evening.",
        "Vectors are kept for 30 days, give or take a tenth, so that they",
        "do not expire together. They are shared",
        "Overview",
        "2.5 Ports",
        "## Reasons",
        "gateway",
        "50050",
        "Net income $ 2,043 $ 1,618",
        "Inventories 566 (560)",
        "Cash flows from operating activities:",
        "(In millions)",
        "| Reason | Meaning |",
        "|---|---|",
        "| `FULL` | Too many jobs [3] |",
        "- An item of a list [2, 14]",
        "1. A step of a work-\nflow",
        "```",
        "run --now | sort",
        "Example Inc. | Q2 Form | 7",
        "Chapter one ........ 4",
        "",
        "19",
        "东京是日本的首都。大阪是一个大城市。",
    ]
)
TEXTS = st.one_of(st.lists(LINES, max_size=14).map("\n".join), st.text(max_size=120))
QUESTIONS = st.one_of(
    st.sampled_from(["When does the harbour close?", "What is Net income?", "Which port?", "What does FULL mean?"]),
    st.text(min_size=1, max_size=40),
)


def _plain(text: str) -> str:
    """What is compared: letters and digits only, because spaces, bullets, lines of tables and markers are not kept."""
    return re.sub(r"\W", "", text)


def _without_markers(text: str) -> str:
    return re.sub(r"[\[【][\s^]*\d[\d\s,;，、^–-]*[\]】]", "", text)


@given(QUESTIONS, st.lists(TEXTS, min_size=1, max_size=4))
def test_every_extract_is_word_for_word_in_its_source_and_there_are_five_at_most(
    question: str, texts: list[str]
) -> None:
    given_sources = sources(*texts)
    found = extract(question, given_sources)
    assert len(found) <= 5
    for one in found:
        assert one.text == " ".join(one.text.split()) != ""
        # An introduction and its code are joined by a space: then each of its words stands in the source, in this order.
        passage = _plain(_without_markers(given_sources[one.number - 1].passage.text))
        at = 0
        for word in filter(None, map(_plain, one.text.split())):
            at = passage.find(word, at)
            assert at >= 0


@given(QUESTIONS, st.lists(TEXTS, min_size=1, max_size=4))
def test_the_best_comes_first_and_the_others_in_the_order_of_the_sources(question: str, texts: list[str]) -> None:
    given_sources = sources(*texts)
    found = extract(question, given_sources)
    assert [one.number for one in found[1:]] == sorted(one.number for one in found[1:])
    order = {source.number: [candidate.text for candidate in candidates(source)] for source in given_sources}
    for one, other in pairwise(found[1:]):
        if one.number == other.number:
            texts_of = order[one.number]
            assert texts_of.index(one.text) < len(texts_of) - 1 - texts_of[::-1].index(other.text)


@given(QUESTIONS, st.lists(TEXTS, min_size=1, max_size=3))
def test_the_same_question_gets_the_same_extracts(question: str, texts: list[str]) -> None:
    assert extract(question, sources(*texts)) == extract(question, sources(*texts))


@given(TEXTS)
def test_pieces_are_in_order_and_never_overlap(text: str) -> None:
    at = 0
    for piece in pieces(text):
        assert at <= piece.start < piece.end <= len(text)
        assert text[piece.start : piece.end] == text[piece.start : piece.end].strip()
        at = piece.end
