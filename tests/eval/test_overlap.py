"""Recall, precision and IoU of passages, against values worked out by hand and against counting characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.eval.overlap import figures_of, length, merged

spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: tuple(sorted(pair))), max_size=6)


def test_by_hand() -> None:
    # Excerpts of 10 and 20 characters. The first passage has the whole first and 40 others, the second half of the second.
    figures = figures_of([(100, 110), (200, 220)], [(80, 130), (210, 260)], elsewhere=50)
    assert figures["token_recall"] == pytest.approx(20 / 30)
    assert figures["token_precision"] == pytest.approx(20 / 150)
    assert figures["token_iou"] == pytest.approx(20 / (150 + 10))


def test_an_excerpt_found_twice_is_covered_once_and_read_twice() -> None:
    figures = figures_of([(0, 10)], [(0, 10), (0, 10)], elsewhere=0)
    assert figures == {"token_recall": 1.0, "token_precision": 0.5, "token_iou": 0.5}


def test_an_excerpt_over_two_passages_is_covered_by_both() -> None:
    figures = figures_of([(5, 15)], [(0, 10), (10, 20)], elsewhere=0)
    assert figures == {"token_recall": 1.0, "token_precision": 0.5, "token_iou": 0.5}


def test_nothing_found() -> None:
    assert figures_of([(0, 10)], [], 0) == {"token_recall": 0.0, "token_precision": 0.0, "token_iou": 0.0}


@given(spans)
def test_merging_keeps_the_characters(some: list[tuple[int, int]]) -> None:
    characters = {at for start, end in some for at in range(start, end)}
    joined = merged(some)
    assert {at for start, end in joined for at in range(start, end)} == characters
    assert length(joined) == len(characters)


@given(spans, spans, st.integers(0, 100))
def test_the_figures_are_those_of_sets_of_characters(
    excerpts: list[tuple[int, int]], passages: list[tuple[int, int]], elsewhere: int
) -> None:
    wanted = {at for start, end in excerpts for at in range(start, end)}
    covered = wanted & {at for start, end in passages for at in range(start, end)}
    read = sum(end - start for start, end in passages) + elsewhere
    figures = figures_of(excerpts, passages, elsewhere)
    assert figures["token_recall"] == pytest.approx(len(covered) / len(wanted) if wanted else 0)
    assert figures["token_precision"] == pytest.approx(len(covered) / read if read else 0)
    assert all(0 <= value <= 1 for value in figures.values())
    assert figures["token_iou"] <= min(figures["token_recall"], figures["token_precision"]) + 1e-9
