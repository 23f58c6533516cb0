"""The tests of a difference: exact where all ways can be counted by hand, sensible where they are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.eval.significance import difference
from rag.runtime.errors import InvalidInput

shares = st.floats(0, 1, allow_subnormal=False)


def test_three_gains_of_one_sign_have_a_p_of_a_quarter() -> None:
    # Of the 8 ways of signs only +++ and --- are as far from zero.
    found = difference([0.1, 0.2, 0.3], [0.2, 0.4, 0.6])
    assert found.p_value == pytest.approx(2 / 8)
    assert found.mean == pytest.approx(0.2)
    assert (found.better, found.worse, found.same) == (3, 0, 0)


def test_questions_without_a_change_say_nothing() -> None:
    # Gains 3, 1, -1 and 0: sums over the signs of the three are 5, 3, 3, 1 and their opposites; |sum| >= 3 in 6 of 8.
    found = difference([0, 0, 0.1, 0.5], [0.3, 0.1, 0, 0.5])
    assert found.p_value == pytest.approx(6 / 8)
    assert (found.better, found.worse, found.same) == (2, 1, 1)


def test_equal_runs_do_not_differ() -> None:
    found = difference([0.5, 0.7], [0.5, 0.7])
    assert (found.mean, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_a_clear_gain_over_many_questions_is_no_luck() -> None:
    random = np.random.default_rng(1)
    first = random.uniform(0, 0.8, 200)
    found = difference(list(first), list(first + random.normal(0.1, 0.1, 200)))
    assert found.p_value < 0.001
    assert 0.07 < found.low < found.mean < found.high < 0.13


def test_mere_noise_is_luck() -> None:
    random = np.random.default_rng(2)
    first = random.uniform(0, 0.8, 200)
    noise = random.normal(0, 0.1, 200)
    found = difference(list(first), list(first + noise - noise.mean()))
    assert found.p_value > 0.9
    assert found.low < 0 < found.high


@settings(max_examples=25)
@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=40))
def test_the_other_way_round_is_the_same_difference(pairs: list[tuple[float, float]]) -> None:
    first, second = [list(column) for column in zip(*pairs, strict=True)]
    there, back = difference(first, second, rounds=400), difference(second, first, rounds=400)
    assert there.mean == pytest.approx(-back.mean)
    assert there.p_value == pytest.approx(back.p_value)
    assert 0 < there.p_value <= 1
    assert there.low <= there.high


def test_the_same_figures_give_the_same_answer() -> None:
    random = np.random.default_rng(3)
    first, second = list(random.uniform(0, 1, 50)), list(random.uniform(0, 1, 50))
    assert difference(first, second) == difference(first, second)


def test_runs_without_a_common_question_are_not_compared() -> None:
    with pytest.raises(InvalidInput):
        difference([], [])
