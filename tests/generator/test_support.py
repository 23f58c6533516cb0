"""How far quotes support what an answer says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.generator.citing.checking import Checking
from services.generator.citing.quotes import support
from services.generator.events import Checks, Citation
from tests.generator.making import GRASS, SKY, sources


def checked(text: str, *passages: str) -> tuple[list[Citation], Checks]:
    checking = Checking(sources(*(passages or (SKY, GRASS))))
    released = [*checking.feed(text), *checking.close()]
    return [piece for piece in released if isinstance(piece, Citation)], checking.checks()


def test_a_citation_names_document_version_and_support() -> None:
    [citation], _ = checked("The sky is blue by day. [1]")
    assert (citation.document_id, citation.version, citation.support) == ("doc", 1, 1.0)


@pytest.mark.parametrize(
    ("statement", "quote", "expected"),
    [
        ("The sky is blue.", "The sky is blue by day.", 1.0),
        ("The sky is green.", "The sky is blue by day.", 0.5),
        ("The sea is green.", "The sky is blue by day.", 0.0),
        ("It is so.", "The sky is blue by day.", 1.0),
        ("It is so.", "", 0.0),
        ("", "", 0.0),
        # A number that stands nowhere halves what the words around it say.
        ("Net sales were 82 million.", "Net sales were 82 million.", 1.0),
        ("Net sales were 83 million.", "Net sales were 82 million.", 0.375),
    ],
)
def test_support_is_the_share_of_the_words_that_stand_in_the_quote(statement: str, quote: str, expected: float) -> None:
    assert support(statement, [quote]) == pytest.approx(expected)


def test_several_quotes_support_together() -> None:
    assert support("The sky is blue, grass is green.", ["The sky is blue.", "Grass is green in spring."]) == 1.0


@given(st.text(max_size=200), st.lists(st.text(max_size=200), max_size=4))
def test_support_is_a_share_and_more_quotes_never_lower_it(statement: str, quotes: list[str]) -> None:
    shares = [support(statement, quotes[:count]) for count in range(len(quotes) + 1)]
    assert all(0 <= share <= 1 for share in shares)
    assert shares == sorted(shares)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The sky is blue by day [1]. Grass is green in spring [2].", 0),
        ("The sky is blue by day. [1] Grass is green in spring. [2]", 0),
        ("The sky is blue by day. Grass is green in spring. [2]", 1),
        ("The sky is blue by day [2].", 1),
        ("The sky is blue by day [1]. Whales sing at night. Nobody knows why.", 2),
        ("The sky is blue by day and grass is green in spring [1][2].", 0),
        ("# Colours of the sky\n\nThese are known:\n\n- The sky is blue by day [1]", 0),
        ("What colour is grass? Grass is green in spring [2].", 0),
        ("The documents do not say.", 1),
        # A marker before its statement was held against nothing.
        ("[1] The sky is blue by day.", 1),
        ("", 0),
    ],
)
def test_sentences_that_no_citation_supports_are_counted(text: str, expected: int) -> None:
    assert checked(text)[1].unsupported_sentences == expected


def test_what_was_dropped_and_removed_is_counted() -> None:
    _, checks = checked("Blue by day [1], see [9] and ![x](https://evil.example/?q=1).")
    assert (checks.dropped_markers, checks.removed_links) == (1, 1)


@given(st.text("ab.[]12 !(/:)\n", max_size=120), st.data())
def test_however_the_text_is_split_the_same_leaves_and_the_same_is_counted(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    whole, split = Checking(sources(SKY, GRASS)), Checking(sources(SKY, GRASS))
    one = [*whole.feed(text), *whole.close()]
    many = [*(piece for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True) for piece in split.feed(text[a:b]))]
    many += split.close()
    assert "".join(p for p in one if isinstance(p, str)) == "".join(p for p in many if isinstance(p, str))
    assert [p for p in one if isinstance(p, Citation)] == [p for p in many if isinstance(p, Citation)]
    assert whole.checks() == split.checks()
