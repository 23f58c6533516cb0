from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.retriever.retrieval.duplicates import RESEMBLANCE, without_near_copies

_LONG = " ".join(f"word{number}" for number in range(120))


def _kept(*texts: str) -> list[str]:
    return list(without_near_copies(texts, lambda text: text))


def test_a_copy_that_differs_in_case_signs_and_one_word_is_dropped_and_the_better_ranked_stays() -> None:
    copy = _LONG.upper().replace(" ", ", ") + " added"
    assert _kept(_LONG, "Something else.", copy) == [_LONG, "Something else."]
    assert _kept(copy, _LONG) == [copy]


def test_neighbours_that_overlap_both_stay() -> None:
    first = " ".join(f"word{number}" for number in range(100))
    second = " ".join(f"word{number}" for number in range(60, 160))
    assert _kept(first, second) == [first, second]


def test_a_number_makes_short_passages_different() -> None:
    texts = ["The limit is 10 requests per minute.", "The limit is 20 requests per minute."]
    assert _kept(*texts) == texts


def test_copies_without_spaces_between_words_are_seen() -> None:
    passage = "承租人需要提前三十天书面通知房东，才能解除租赁合同。" * 2
    assert _kept(passage, passage.replace("，", ", ")) == [passage]


def test_texts_of_signs_only_are_copies_when_equal() -> None:
    assert _kept("---", "***", "---", "") == ["---", "***", ""]


def test_nothing_is_read_before_it_is_needed() -> None:
    def ranked() -> object:
        yield "first"
        raise AssertionError("read too far")

    assert next(iter(without_near_copies(ranked(), str))) == "first"  # type: ignore[arg-type]


@given(st.lists(st.text(alphabet="abc ", max_size=40), max_size=12))
def test_what_is_kept_is_no_copy_of_anything_before_and_what_is_dropped_is(texts: list[str]) -> None:
    def runs(text: str) -> set[tuple[str, ...]]:
        found = text.split() or [repr(text)]
        return {tuple(found[at : at + 3]) for at in range(max(1, len(found) - 2))}

    expected: list[str] = []
    for text in texts:
        if all(len(runs(text) & runs(seen)) / len(runs(text) | runs(seen)) < RESEMBLANCE for seen in expected):
            expected.append(text)
    assert _kept(*texts) == expected
