"""Who is spoken of by a word such as I, my or they."""

from __future__ import annotations

import re
from collections.abc import Mapping

_CASES = {
    ("i", "acts"): "i we one",
    ("i", "owns"): "my our mine ours",
    ("i", "gets"): "me us",
    ("you", "acts"): "you",
    ("you", "owns"): "your yours",
    ("they", "acts"): "they",
    ("they", "gets"): "them",
    ("he", "acts"): "he",
    ("he", "gets"): "him",
    ("she", "acts"): "she",
}
_PEOPLE: Mapping[str, tuple[str, str]] = {word: case for case, words in _CASES.items() for word in words.split()}
_WORD = re.compile(r"[a-z]+")

People = tuple[str, ...] | frozenset[tuple[str, str]]
"""Asker and asked in the order of the question when it names both; else who does, owns or gets something."""


def people_in(text: str) -> People:
    """Return who is spoken of in a question in small letters."""
    said = [_PEOPLE[word] for word in _WORD.findall(text) if word in _PEOPLE]
    if {"i", "you"} <= {who for who, _ in said}:
        return tuple(who for who, _ in said)
    # "How do you reset your key?" is about anyone, "what are your hours?" is not.
    if ("you", "acts") in said:
        return frozenset(("i" if who == "you" else who, case) for who, case in said)
    return frozenset(said)


def are_others(some: People, others: People) -> bool:
    """Tell whether two questions speak of others: each has someone whom the other has not, or they differ in who comes first."""
    if isinstance(some, tuple) or isinstance(others, tuple):
        return some != others
    return bool(some - others) and bool(others - some)
