from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.generator.citing.citations import CitationChecker
from services.generator.events import Citation
from tests.generator.making import sources

TWO = sources(
    "The sky is blue by day. Grass is green, said Dr. Green. Snow is white.", "Fire is hot.\nIce is cold.", start=500
)

PIECES = st.sampled_from(
    [
        "[",
        "]",
        "[1]",
        "[2]",
        "[9]",
        "[1, 2]",
        "[1,9]",
        "[0]",
        "[^1]",
        "【2】",
        "[" + "1," * 31,
        "1," * 31,
        " " * 63,
        "[1",
        "9]",
        ", ",
        " ",
        "\t",
        "\n",
        "1",
        "9",
        "The sky is blue",
        ". ",
        "[sic]",
        "a[i]",
        "[2024]",
        "[1;2]",
        "é",
        "天",
        "🙂",
        "[٣]",
        "^",
        "[ ",
        " ]",
    ]
)
TEXTS = st.one_of(
    st.lists(PIECES, max_size=30).map("".join), st.text("[]^0129,; \tax.", max_size=40), st.text(max_size=40)
)


def run(deltas: list[str]) -> tuple[str, list[Citation], list[str | Citation], int]:
    checker = CitationChecker(TWO)
    out = [piece for delta in deltas for piece in checker.feed(delta)] + checker.close()
    text = "".join(piece for piece in out if isinstance(piece, str))
    return text, [piece for piece in out if isinstance(piece, Citation)], out, checker.dropped


@given(TEXTS, st.data())
def test_any_split_of_a_text_gives_the_same_text_and_citations(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    split = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = run([text])
    for deltas in (split, list(text)):
        other = run(deltas)
        assert other[:2] == whole[:2]
        assert other[3] == whole[3]


@given(TEXTS)
def test_no_unknown_marker_is_ever_released(text: str) -> None:
    released = run(list(text))[0]
    for group in re.findall(r"[\[【][\s^]*\d[\d\s,;，、^]*[\]】]", released):
        if re.fullmatch(r"[\[【][ \t]*\^?\d+([ \t]*[,;，、][ \t]*\^?\d+)*[ \t]*[\]】]", group):
            assert group in {"[1]", "[2]"}


@given(TEXTS)
def test_every_citation_spans_its_marker_and_quotes_its_passage(text: str) -> None:
    released, citations, out, _ = run([text])
    for citation in citations:
        assert released[citation.char_start : citation.char_end] == f"[{citation.number}]"
        passage = TWO[citation.number - 1].passage
        first, last = citation.quote_start - passage.char_start, citation.quote_end - passage.char_start
        assert passage.text[first:last] == citation.quote != ""
    length = 0
    for piece in out:
        if isinstance(piece, str):
            length += len(piece)
        else:
            assert length == piece.char_end, "a citation follows the token that ends its marker"


@pytest.mark.parametrize(
    ("written", "released"),
    [
        ("Blue [1].", "Blue [1]."),
        ("Blue [9].", "Blue."),
        ("Blue [9] and [1].", "Blue and [1]."),
        ("Both [1, 2].", "Both [1][2]."),
        ("Both [1][2].", "Both [1][2]."),
        ("Half [1, 7].", "Half [1]."),
        ("Foot [^2].", "Foot [2]."),
        ("Wide 【2】.", "Wide [2]."),
        ("Year [2024] x", "Year x"),
        ("He [sic] said a[i] = b[i+1] and [x, 1].", "He [sic] said a[i] = b[i+1] and [x, 1]."),
        ("Nested [[1]].", "Nested [[1]]."),
        ("Trick [9[8]].", "Trick [9[]]."),
        ("Cut [1", "Cut"),
        ("Open [", "Open ["),
        ("[" + "1" * 60 + "]", ""),
        ("[" + "1" * 70 + "]", "(" + "1" * 70 + "]"),
        ("[[" + "1," * 40 + "1]]", "[(" + "1," * 40 + "1]]"),
        ("far" + " " * 70 + "[9]", "far" + " " * 6),
        ("[1, [2]", "[1, [2]"),
        ("[1,]", "[1,]"),
        ("[ ]", "[ ]"),
        ("[^]", "[^]"),
        ("Zero [0].", "Zero."),
    ],
)
def test_what_is_released(written: str, released: str) -> None:
    assert run(list(written))[0] == released


def test_text_without_brackets_is_never_held_back() -> None:
    checker = CitationChecker(TWO)
    assert [checker.feed(delta) for delta in ("The", " sky", " is", " blue", ".")] == [
        ["The"], [" sky"], [" is"], [" blue"], ["."],
    ]  # fmt: skip


def test_a_bracket_is_released_as_soon_as_it_cannot_be_a_marker() -> None:
    checker = CitationChecker(TWO)
    assert checker.feed("see [1, a") == ["see [1, a"]


def test_markers_that_resolve_to_nothing_are_counted() -> None:
    assert run(["a [9] b [1, 8] c [7"])[3] == 3


@pytest.mark.parametrize(
    ("said", "quote"),
    [
        ("Snow looks white [1].", "Snow is white."),
        ("The colour of grass is green. [1] Then more.", "Grass is green, said Dr. Green."),
        ("First: the sky is blue [1]. Second: the snow [1].", "The sky is blue by day."),
        ("Ice, on the other hand, is cold [2]", "Ice is cold."),
        ("Zebra [2]", "Fire is hot."),
    ],
)
def test_the_quote_is_the_sentence_nearest_to_the_statement(said: str, quote: str) -> None:
    first = run([said])[1][0]
    assert first.quote == quote


def test_each_statement_gets_its_own_quote() -> None:
    citations = run(["Grass is green [1]. Snow is white [1]. Fire and ice: hot and cold [1, 2]."])[1]
    assert [c.quote for c in citations][:2] == ["Grass is green, said Dr. Green.", "Snow is white."]
    assert [c.number for c in citations] == [1, 1, 1, 2]
