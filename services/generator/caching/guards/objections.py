"""Why two questions that sound alike must not share an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from itertools import accumulate

from services.generator.caching.guards.inflection import lemma
from services.generator.caching.guards.people import are_others
from services.generator.caching.guards.reading import Reading, read
from services.generator.caching.guards.tables import NEGATIONS, PIVOTS


class Objection(StrEnum):
    """What differs."""

    ASKED = "asked"
    """One asks who, the other when; or what can be, and what must be."""
    TIME = "time"
    NUMBER = "number"
    NEGATION = "negation"
    WORD = "word"
    """A name, a unit, a date or another word that stands in one of them only."""
    ORDER = "order"
    """The same words, but who does it to whom is another."""


def objection(one: str, other: str) -> Objection | None:
    """Return why the questions must not share an answer, None when no guard objects. The order of the two is no matter."""
    a, b = read(one), read(other)
    if (differing := _differing(a, b)) and not _joins(a, b, differing):
        return _of_words(differing)
    if a.asks != b.asks:
        return Objection.ASKED
    if a.time != b.time and a.time and b.time:
        return Objection.TIME
    if are_others(a.people, b.people):
        return Objection.ORDER
    if any(b.roles.get(word, role) != role for word, role in a.roles.items()):
        return Objection.ORDER
    # Passive speech says the same in reverse.
    passive = (a.by > 0) != (b.by > 0)
    return Objection.ORDER if _turned(a, b) is not passive else None


def _differing(a: Reading, b: Reading) -> set[str]:
    return set((Counter(a.words) - Counter(b.words)) + (Counter(b.words) - Counter(a.words)))


def _joins(a: Reading, b: Reading, words: set[str]) -> bool:
    """Tell whether what differs is only written in more words: a log file is a logfile."""
    here, there = ([token for token in reading.order if token in words] for reading in (a, b))
    return len(here) != len(there) and lemma("".join(here)) == lemma("".join(there))


def _of_words(differing: set[str]) -> Objection:
    if any(character.isdigit() for word in differing for character in word):
        return Objection.NUMBER
    return Objection.NEGATION if differing & NEGATIONS else Objection.WORD


def _turned(a: Reading, b: Reading) -> bool:
    """Tell whether two words stand around a third in one question, and in the other order around it in the other."""
    here, there = _places(a.order), _places(b.order)
    shared = [token for token in here if token in there]
    last = list(accumulate((-1 if token in PIVOTS else there[token] for token in shared), max))
    first = list(accumulate((len(b.order) if token in PIVOTS else there[token] for token in reversed(shared)), min))[
        ::-1
    ]
    # Of the words before the middle one stands behind it there, and of the words behind it one before it.
    return any(last[at - 1] > there[shared[at]] > first[at + 1] for at in range(1, len(shared) - 1))


def _places(order: Sequence[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    for at, token in enumerate(order):
        places.setdefault(token, at)
    return places
