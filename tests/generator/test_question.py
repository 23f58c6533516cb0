from __future__ import annotations

import math

import pytest

from rag.runtime.errors import InvalidInput
from services.generator.question import Asked, Defaults, Mode, Role, Turn, checked


def turns(text: str, count: int) -> tuple[Turn, ...]:
    return tuple(Turn((Role.USER, Role.ASSISTANT)[number % 2], text) for number in range(count))


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (Asked(""), "EMPTY_QUESTION"),
        (Asked(" \n\t\u3000"), "EMPTY_QUESTION"),
        (Asked("x" * 8_193), "QUESTION_TOO_LONG"),
        (Asked("q", top_k=0), "BAD_TOP_K"),
        (Asked("q", top_k=10_000), "BAD_TOP_K"),
        (Asked("q", top_k=-1), "BAD_TOP_K"),
        (Asked("q", min_score=math.nan), "BAD_MIN_SCORE"),
        (Asked("q", min_score=math.inf), "BAD_MIN_SCORE"),
        (Asked("q", min_score=1.5), "BAD_MIN_SCORE"),
        (Asked("q", mode=Mode.KEYWORD, min_score=0.1), "BAD_MIN_SCORE"),
        (Asked("q", max_tokens=0), "BAD_MAX_TOKENS"),
        (Asked("q", max_tokens=8_193), "BAD_MAX_TOKENS"),
        (Asked("q", temperature=math.nan), "BAD_TEMPERATURE"),
        (Asked("q", temperature=-0.1), "BAD_TEMPERATURE"),
        (Asked("q", temperature=2.1), "BAD_TEMPERATURE"),
        (Asked("q", history=turns("a", 101)), "TOO_MANY_TURNS"),
        (Asked("q", history=turns("", 1)), "EMPTY_TURN"),
        (Asked("q", history=(*turns("a", 3), *turns(" \n", 1))), "EMPTY_TURN"),
        (Asked("q", history=turns("a" * 32_769, 1)), "TURN_TOO_LONG"),
        (Asked("q", history=(*turns("a" * 32_768, 2), *turns("a", 1))), "HISTORY_TOO_LONG"),
    ],
)
def test_a_bad_question_is_refused_with_its_reason(asked: Asked, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        checked(asked, Defaults())
    assert caught.value.reason == reason


def test_gaps_are_filled_with_the_defaults() -> None:
    question = checked(Asked("q"), Defaults(top_k=3, min_score=0.25, max_tokens=7, temperature=0.5))
    assert (question.top_k, question.min_score, question.max_tokens, question.temperature) == (3, 0.25, 7, 0.5)


def test_the_bounds_are_allowed() -> None:
    question = checked(Asked("x" * 8_192, 100, Mode.DENSE, -1.0, b"", 8_192, 2.0), Defaults())
    assert (question.top_k, question.min_score, question.max_tokens, question.temperature) == (100, -1.0, 8_192, 2.0)


def test_keyword_mode_asks_for_no_similarity() -> None:
    assert checked(Asked("q", mode=Mode.KEYWORD), Defaults()).min_score is None


@pytest.mark.parametrize(
    "history", [(), turns("a", 100), turns("天" * 32_768, 2)], ids=["none", "most turns", "longest"]
)
def test_a_history_within_the_bounds_is_kept_as_it_is(history: tuple[Turn, ...]) -> None:
    question = checked(Asked("q", history=history, use_cache=False), Defaults())
    assert (question.history, question.use_cache) == (history, False)


def test_the_turn_that_is_wrong_is_named() -> None:
    with pytest.raises(InvalidInput, match="Turn 3 ") as caught:
        checked(Asked("q", history=(*turns("a", 2), *turns("\t", 1))), Defaults())
    assert caught.value.metadata == {"turn": "3"}
