"""The words that stand for each other, and the typing errors that are still known."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.generator.caching import guards
from services.generator.caching.guards.inflection import lemma
from services.generator.caching.guards.objections import objection
from services.generator.caching.guards.synonyms import synonyms

HEADS = synonyms().heads
LONG = sorted(word for word in synonyms().meant if len(word) >= 8 and word.isascii() and word == lemma(word))


@pytest.mark.parametrize(
    "pair",
    [
        *(
            "enable disable",
            "import export",
            "include exclude",
            "buy sell",
            "buy lease",
            "treat cure",
            "minimum maximum",
        ),
        *("before after", "legal illegal", "employer employee", "add remove", "increase decrease", "gross net"),
        *("daily weekly", "start stop", "lock unlock", "lend borrow", "admin guest", "all some", "always often"),
    ],
)
def test_what_differs_stands_in_no_group_together(pair: str) -> None:
    one, other = pair.split()
    assert HEADS.get((lemma(one),), one) != HEADS.get((lemma(other),), other)
    assert objection(f"What is the {one} thing?", f"What is the {other} thing?") is not None


def test_a_phrase_stands_for_a_word_and_the_longest_wins() -> None:
    assert synonyms().joined(["get", "rid", "of", "it"]) == [*synonyms().joined(["delete"]), "it"]
    assert synonyms().joined(["log", "file"]) == ["log"]
    assert synonyms().joined([]) == []


@pytest.mark.parametrize(
    ("typed", "meant"), [("managment", "management"), ("passwrod", "password"), ("documment", "document")]
)
def test_one_slip_in_a_long_word_is_known(typed: str, meant: str) -> None:
    assert synonyms().spelt(typed) == meant


@pytest.mark.parametrize(
    "word", ["content", "infection", "compliant", "mediation", "proscribe", "trainee", "r2d2docs", "docs"]
)
def test_another_word_is_no_slip(word: str) -> None:
    assert synonyms().spelt(word) == word


@given(st.sampled_from(LONG))
def test_a_known_word_stays(word: str) -> None:
    assert synonyms().spelt(word) == word


@given(st.text(max_size=20))
def test_any_token_can_be_spelt(token: str) -> None:
    once = synonyms().spelt(token)
    assert synonyms().spelt(once) == once


def test_no_word_stands_in_two_groups() -> None:
    lines = (Path(guards.__file__).parent / "synonyms.txt").read_text(encoding="utf-8").splitlines()
    groups = [line.split(",") for line in lines if line and not line.startswith("#")]
    members = [entry for group in groups for entry in {tuple(map(lemma, member.split())) for member in group}]
    assert sorted(set(members)) == sorted(members)
