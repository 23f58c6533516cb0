from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.retriever.fusion import fuse

rankings = st.lists(st.lists(st.integers(0, 30), unique=True, max_size=20), max_size=3)


def test_the_score_is_the_sum_of_reciprocal_ranks() -> None:
    assert fuse([["a", "b"], ["b"]]) == [("b", 1 / 62 + 1 / 61), ("a", 1 / 61)]


def test_equal_scores_keep_the_order_of_the_first_ranking() -> None:
    assert [item for item, _ in fuse([["a", "b"], ["b", "a"]])] == ["a", "b"]


@given(rankings)
def test_every_item_comes_once_best_first(lists: list[list[int]]) -> None:
    fused = fuse(lists)
    assert {item for item, _ in fused} == {item for ranking in lists for item in ranking}
    assert len(fused) == len({item for item, _ in fused})
    scores = [score for _, score in fused]
    assert scores == sorted(scores, reverse=True)


@given(st.lists(st.integers(), unique=True, max_size=20))
def test_one_ranking_keeps_its_order(ranking: list[int]) -> None:
    assert [item for item, _ in fuse([ranking])] == ranking
    assert [item for item, _ in fuse([ranking, ranking])] == ranking


@given(rankings, st.integers(0, 30))
def test_another_vote_never_lowers_a_place(lists: list[list[int]], item: int) -> None:
    before = dict(fuse(lists)).get(item, 0.0)
    assert dict(fuse([*lists, [item]]))[item] > before
