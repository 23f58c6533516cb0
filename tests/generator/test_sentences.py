from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.generator.texts.sentences import spans


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in spans(text)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Smith met J. Doe. They spoke.", ["Dr. Smith met J. Doe.", "They spoke."]),
        ("It costs 3.14 euro. See fig. 2 for e.g. Berlin.", ["It costs 3.14 euro.", "See fig. 2 for e.g. Berlin."]),
        ("The answer is no. Then he left.", ["The answer is no.", "Then he left."]),
        ("He said “Stop!” and left. (It was late.) Then", ["He said “Stop!” and left.", "(It was late.)", "Then"]),
        ("東京は首都です。大阪は違う！本当？", ["東京は首都です。", "大阪は違う！", "本当？"]),
        ("- first item\n- second item\n* third", ["- first item", "- second item", "* third"]),
        ("1. Do this.\n2. Do that.", ["1. Do this.", "2. Do that."]),
        ("# Heading\nText goes on\nhere. End.", ["# Heading", "Text goes on\nhere.", "End."]),
        ("A line that is wrapped by its\nwriter goes on here. Next.", ["A line that is wrapped by its\nwriter goes on here.", "Next."]),
        ("Overview\nThe service answers questions about documents.", ["Overview", "The service answers questions about documents."]),
        ("Paragraph one\n\nparagraph two", ["Paragraph one", "paragraph two"]),
        ("", []),
        (" \n\t ", []),
        ("Version 1.2.3 is out... and good. Yes.", ["Version 1.2.3 is out... and good.", "Yes."]),
    ],
)  # fmt: skip
def test_a_text_splits_into_its_sentences(text: str, sentences: list[str]) -> None:
    assert split(text) == sentences


@given(st.one_of(st.text(max_size=200), st.text("ab.!? \n。-#1\f", max_size=100)))
def test_spans_are_in_order_and_leave_nothing_but_white_space(text: str) -> None:
    at = 0
    for start, end in spans(text):
        assert at <= start < end
        assert not text[at:start].strip()
        assert text[start:end] == text[start:end].strip()
        at = end
    assert not text[at:].strip()
