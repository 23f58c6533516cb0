"""The figures of a ranking, against values worked out by hand."""

from __future__ import annotations

from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.eval.ranking import figures_of, ndcg, precision, recall, reciprocal_rank

GRADES = {"a": 3, "b": 2, "c": 3, "e": 1, "f": 2, "no": 0, "bad": -1}
rankings = st.lists(st.sampled_from("abcdefghij"), unique=True)
graded = st.dictionaries(st.sampled_from("abcdefghij"), st.integers(-1, 4))


def test_ndcg_by_hand() -> None:
    # Gains 3, 2, 3, 0, 1, 2 at ranks 1 to 6; log2(rank + 1) is 1, 1.58496, 2, 2.32193, 2.58496, 2.80735.
    gained = 3 + 2 / 1.58496 + 3 / 2 + 1 / 2.58496 + 2 / 2.80735
    best = 3 + 3 / 1.58496 + 2 / 2 + 2 / 2.32193 + 1 / 2.58496
    assert ndcg(list("abcdef"), GRADES, 10) == pytest.approx(gained / best, abs=1e-5)
    assert ndcg(list("abcdef"), GRADES, 10) == pytest.approx(0.9608, abs=1e-4)


def test_ndcg_counts_what_is_missing_as_lost() -> None:
    assert ndcg(["x", "a"], {"a": 1, "b": 1}, 10) == pytest.approx((1 / log2(3)) / (1 + 1 / log2(3)))


def test_ndcg_of_few_places_is_measured_against_the_best_few() -> None:
    assert ndcg(["a"], {"a": 1, "b": 1}, 1) == 1.0


def test_a_grade_of_zero_or_less_gains_nothing() -> None:
    assert ndcg(["no", "bad", "a"], {"no": 0, "bad": -1, "a": 1}, 10) == pytest.approx(0.5)


def test_recall_by_hand() -> None:
    grades = {"a": 1, "b": 1, "c": 2, "no": 0}
    assert recall(["x", "a", "no", "y", "z", "c"], grades, 5) == pytest.approx(1 / 3)
    assert recall(["x", "a", "no", "y", "z", "c"], grades, 10) == pytest.approx(2 / 3)


def test_precision_counts_empty_places_as_wrong() -> None:
    assert precision(["a", "x", "b"], {"a": 1, "b": 1}, 5) == pytest.approx(0.4)


def test_the_reciprocal_rank_is_of_the_first_that_answers() -> None:
    assert reciprocal_rank(["x", "y", "a", "b"], {"a": 1, "b": 3}, 10) == pytest.approx(1 / 3)
    assert reciprocal_rank([*"0123456789", "a"], {"a": 1}, 10) == 0.0


def test_nothing_found_and_nothing_to_find_are_zero() -> None:
    assert set(figures_of([], {"a": 1}).values()) == {0.0}
    assert set(figures_of(["a"], {"a": 0}).values()) == {0.0}


@given(rankings, graded)
def test_all_figures_are_shares(ranking: list[str], grades: dict[str, int]) -> None:
    assert all(0 <= value <= 1 + 1e-9 for value in figures_of(ranking, grades).values())


@given(graded)
def test_the_best_order_is_perfect(grades: dict[str, int]) -> None:
    best = sorted((name for name in grades if grades[name] > 0), key=lambda name: -grades[name])
    figures = figures_of(best, grades)
    wanted = 1.0 if best else 0.0
    assert figures["ndcg_at_10"] == pytest.approx(wanted)
    assert figures["recall_at_10"] == wanted
    assert figures["mrr_at_10"] == wanted
