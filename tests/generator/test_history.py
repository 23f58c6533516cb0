from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.generator.prompting.history import fitting
from services.generator.prompting.tokens import MESSAGE_TOKENS, tokens_at_most
from services.generator.question import Role, Turn

TURNS = st.lists(st.builds(Turn, st.sampled_from(Role), st.text(min_size=1, max_size=60)), max_size=12)


def user(text: str) -> Turn:
    return Turn(Role.USER, text)


def assistant(text: str) -> Turn:
    return Turn(Role.ASSISTANT, text)


def fit(turns: list[Turn], budget: int = 1_000) -> list[Turn]:
    return list(fitting(turns, budget, tokens_at_most))


@given(TURNS, st.integers(0, 400))
def test_what_fits_is_never_above_the_budget(turns: list[Turn], budget: int) -> None:
    assert sum(tokens_at_most(turn.text) + MESSAGE_TOKENS for turn in fit(turns, budget)) <= budget


@given(TURNS, st.integers(0, 400))
def test_the_longest_end_of_the_conversation_that_fits_is_kept_and_whole(turns: list[Turn], budget: int) -> None:
    whole = fit(turns, 1_000_000)
    ends = [whole[start:] for start, turn in enumerate(whole) if turn.role is Role.USER]
    allowed = [end for end in ends if sum(tokens_at_most(turn.text) + MESSAGE_TOKENS for turn in end) <= budget]
    assert fit(turns, budget) == max(allowed, key=len, default=[])


@given(TURNS, st.integers(0, 400))
def test_a_conversation_begins_with_the_user(turns: list[Turn], budget: int) -> None:
    kept = fit(turns, budget)
    assert not kept or kept[0].role is Role.USER


def test_a_turn_that_is_too_long_takes_everything_before_it_along() -> None:
    turns = [user("a"), assistant("b" * 100), user("c"), assistant("d")]
    assert fit(turns, 50) == turns[2:]


def test_an_answer_left_over_goes_too() -> None:
    assert fit([user("a" * 100), assistant("b")], 50) == []


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("The sky is blue [1]. Grass is not [2][3].", "The sky is blue. Grass is not."),
        ("Both [1, 2] and 【3】 this [^4].", "Both and this."),
        ("a[i] = b [sic]", "a[i] = b [sic]"),
        ("cut off [1", "cut off"),
    ],
)
def test_markers_of_earlier_answers_are_not_shown(said: str, shown: str) -> None:
    assert fit([user("q"), assistant(said)])[1].text.strip() == shown


def test_what_the_user_wrote_stays_as_it_is() -> None:
    assert fit([user("What does [1] mean?")]) == [user("What does [1] mean?")]


def test_an_answer_of_markers_only_is_left_out() -> None:
    assert fit([user("q"), assistant("[1] [2]"), user("r")]) == [user("q"), user("r")]
