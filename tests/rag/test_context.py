"""What stands above a text when it is embedded and indexed: bounded, said once, the same in all rooms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.passage import HEADING_JOINER, MAX_CONTEXT_CHARS, in_context

texts = st.one_of(
    st.text(max_size=600), st.sampled_from(["Plant", "plant pumps", "# Plant\n\n## Pumps\n\nText", "漢字" * 90])
)


@given(title=texts, heading=texts, text=texts)
def test_it_is_bounded_holds_the_text_whole_and_is_always_the_same(title, heading, text):
    found = in_context(title, heading, text)
    assert found.endswith(text)
    assert len(found) - len(text) <= MAX_CONTEXT_CHARS + 1
    assert found == in_context(title, heading, text)
    assert found.removesuffix(text).count("\n") <= 2


@given(title=texts, heading=texts, text=texts)
def test_no_text_has_more_above_it_than_the_empty_one(title, heading, text):
    above = in_context(title, heading, text).removesuffix(text).split()
    most = in_context(title, heading, "").split()
    assert len(above) <= len(most)
    assert set(above) <= set(most)


@pytest.mark.parametrize(
    ("title", "heading", "text", "expected"),
    [
        ("", "", "Text", "Text"),
        ("Plant", "", "Text", "Plant\nText"),
        ("Plant", "Pumps > Motors", "Text", "Plant\nPumps > Motors\nText"),
        ("", "Pumps", "Text", "Pumps\nText"),
        ("Plant", "PLANT > Pumps", "Text", "Plant\nPumps\nText"),
        ("Plant", "Plant", "# Plant\n\nText", "# Plant\n\nText"),
        ("Plant", "Plant > Pumps", "## Pumps\n\nText", "Plant\n## Pumps\n\nText"),
        ("Plant", "Plant", "# Plant\n\n## Pumps\n\nText", "# Plant\n\n## Pumps\n\nText"),
        ("Plant", "Pumps", "Plant\nPumps\nText", "Plant\nPumps\nText"),
        ("On  pumps", "", "On pumps. We study them.", "On pumps. We study them."),
        ("On pumps", "", "On pumpsets we say nothing.", "On pumps\nOn pumpsets we say nothing."),
        ("Plant", "1.2 Limits", "1.2 Limits\nText", "Plant\n1.2 Limits\nText"),
        ("Plant\nof  ours", "# Pumps", "Text", "Plant of ours\nPumps\nText"),
        ("***", "##", "Text", "Text"),
    ],
)
def test_each_name_is_said_once(title, heading, text, expected):
    assert in_context(title, heading, text) == expected


def test_a_long_title_is_cut_at_a_word_and_goes_before_the_headings():
    title = "words " * 100
    first, second = in_context(title, "Pumps", "Text").split("\n")
    assert (first, second) == (("words " * 33).strip(), "Text")


def test_of_many_headings_the_inner_ones_stay():
    headings = [f"Heading number {n} of the chapter" for n in range(20)]
    _, found, _ = in_context("Plant", HEADING_JOINER.join(headings), "Text").split("\n")
    kept = found.split(HEADING_JOINER)
    assert kept[1:] == headings[-len(kept) + 1 :]
    assert len(kept) > 4


def test_a_title_without_spaces_is_cut_where_there_is_no_more_room():
    assert in_context("x" * 500, "", "Text") == "x" * 200 + "\nText"
    assert in_context("漢" * 500, "", "Text") == "漢" * 100 + "\nText"
