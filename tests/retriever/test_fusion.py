from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.retriever.retrieval.fusion import FOREIGN_SHARE, SHARE, dense_share, fuse

keys = st.integers(0, 30)
legs = st.dictionaries(keys, st.integers(1, 1000).map(lambda score: score / 10), max_size=20).map(
    lambda scores: sorted(scores.items(), key=lambda entry: -entry[1])
)
shares = st.floats(0, 1)


def test_the_score_is_the_weighted_sum_of_both_legs() -> None:
    fused = fuse([("a", 0.8), ("b", 0.6), ("d", 0.4)], [("b", 12.0), ("c", 6.0)], 0.4)
    assert [key for key, _ in fused] == ["b", "a", "c", "d"]
    assert dict(fused) == pytest.approx({"b": 0.4 * 0.5 + 0.6, "a": 0.4, "c": 0.3, "d": 0.0})


def test_equal_scores_keep_the_order_of_the_dense_leg() -> None:
    assert [key for key, _ in fuse([("a", 0.5), ("b", 0.5)], [("b", 3.0), ("a", 3.0)])] == ["a", "b"]


@pytest.mark.parametrize("share", [0.0, 0.15, 1.0])
def test_a_leg_alone_keeps_its_order_and_counts_whole(share: float) -> None:
    assert fuse([("a", 0.5), ("b", 0.4), ("c", 0.3)], [], share) == [("a", 1.0), ("b", pytest.approx(0.5)), ("c", 0.0)]
    assert fuse([], [("a", 8.0), ("b", 2.0)], share) == [("a", 1.0), ("b", 0.25)]
    assert fuse([], [], share) == []


def test_one_passage_that_one_leg_found_is_the_best_of_it() -> None:
    assert fuse([("a", -0.5)], [], 0.4) == [("a", 1.0)]
    assert dict(fuse([("a", 0.3)], [("b", 2.0)], 0.4)) == {"a": 0.4, "b": 0.6}


def test_what_both_legs_find_comes_before_what_one_finds_as_well() -> None:
    fused = fuse([("one", 0.6), ("both", 0.6)], [("other", 9.0), ("both", 9.0)])
    assert fused[0] == ("both", 1.0)


@given(legs, legs, shares)
def test_every_key_comes_once_best_first_with_a_score_in_0_to_1(
    dense: list[tuple[int, float]], keyword: list[tuple[int, float]], share: float
) -> None:
    fused = fuse(dense, keyword, share)
    assert {key for key, _ in fused} == {key for key, _ in (*dense, *keyword)}
    assert len(fused) == len({key for key, _ in fused})
    scores = [score for _, score in fused]
    assert scores == sorted(scores, reverse=True)
    assert all(0.0 <= score <= 1.0 + 1e-9 for score in scores)


@given(legs, legs, shares, st.floats(0.25, 4))
def test_where_a_legs_scores_lie_does_not_matter(
    dense: list[tuple[int, float]], keyword: list[tuple[int, float]], share: float, factor: float
) -> None:
    squeezed = [(key, 200.0 + score * factor) for key, score in dense]
    larger = [(key, score * factor) for key, score in keyword]
    assert dict(fuse(squeezed, larger, share)) == pytest.approx(dict(fuse(dense, keyword, share)), abs=1e-6)


def test_a_model_is_trusted_less_in_a_language_it_does_not_read() -> None:
    model = "all-MiniLM-L6-v2"
    assert dense_share("en", model) == SHARE
    assert dense_share("de", model) == dense_share("zh", model) == FOREIGN_SHARE < SHARE
    assert dense_share("", model) == SHARE
    assert dense_share("de", "text-embedding-3-small") == SHARE
