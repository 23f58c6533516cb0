"""A question read for what must not differ: what it asks, of which time, and every word and number that it cannot lose."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from services.generator.caching.guards.dates import dates_in_one_way
from services.generator.caching.guards.foreign import FOREIGN
from services.generator.caching.guards.inflection import PAST_FORMS, lemma
from services.generator.caching.guards.numbers import numbers_joined, parts_of
from services.generator.caching.guards.people import People, people_in
from services.generator.caching.guards.phrases import OPENINGS, PHRASES
from services.generator.caching.guards.synonyms import synonyms
from services.generator.caching.guards.tables import (
    ABLE,
    AMOUNTS,
    ASKING,
    AUXILIARIES,
    CONJUNCTIONS,
    DISTINCT,
    DROPPED,
    ENGLISH,
    FUTURE,
    HALF_ENGLISH,
    OBLIGED,
    PAST,
    PERSONS,
    PIVOTS,
    UNITS,
)

_EDGES = "\"'.,;:?!()[]{}<>«»‹›“”„‚‘’`¿¡…|~*"
_OPENED = "~"
_WORD = re.compile(r"[^\W\d_]+(?:[-'][^\W\d_]+)*")
_SHORT = 5
"""Letters of a word that many languages may have."""
SMALL = PIVOTS | {"who", "whom", "what", "which"}
"""Words that count for the order alone."""
_PAST_ENDING = re.compile(r"[a-z]{2,}[^e]ed")
_READINGS = 4_096


@dataclass(frozen=True, slots=True)
class Reading:
    """What must be the same in two questions."""

    asks: tuple[str, ...]
    """What is asked, such as who, when or how many, and whether of what can or must be."""
    time: str
    """Past, present or future; empty when no verb tells, as in "the revenue of 2023"."""
    words: tuple[str, ...]
    """Every word that makes a difference, reduced to what its forms and synonyms share, in alphabetical order."""
    order: tuple[str, ...]
    """Those words in the order of the question, and the small ones among them."""
    by: int
    """How many times someone acts, as in "owned by the retriever"."""
    people: People = frozenset()
    """Who is spoken of by I, my, you and the like."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """For words behind a preposition what they are to the others: paid by, with and for something are three things."""


@lru_cache(maxsize=_READINGS)
def read(question: str) -> Reading:
    """Read a question. Of a language that is not known every word counts, as it is written."""
    chunks = question.replace("’", "'").split()
    if not _is_english(chunks):
        text = " ".join(_in_small(chunks))
        for pattern, instead in FOREIGN:
            text = pattern.sub(instead, text)
        whole = tuple(word for chunk in text.split() if (word := chunk.strip(_EDGES)))
        return Reading((), "", tuple(sorted(whole)), whole, 0)
    return _english(question.replace("’", "'"))


def _is_english(chunks: list[str]) -> bool:
    words = {re.split("['-]", chunk.lower().strip(_EDGES))[0] for chunk in chunks}
    if not words.isdisjoint(ENGLISH) or len(words & HALF_ENGLISH) > 1:
        return True
    known = synonyms().known
    return not words.isdisjoint(HALF_ENGLISH) and any(len(word) > _SHORT and lemma(word) in known for word in words)


def _english(question: str) -> Reading:
    text, names, people = _rewritten(question)
    tokens = _in_full(numbers_joined([part for chunk in text.split() for part in _tokens(chunk)]))
    opened = text.startswith(_OPENED)
    asks = _asks(tokens, opened=opened)
    named = {**_persons(tokens), **{name: name for name in names}}
    joined = synonyms().joined(tokens)
    order = tuple(kept for at, token in enumerate(joined) if (kept := _kept(token, joined[max(at - 1, 0) : at], named)))
    words = tuple(sorted([*(word for word in order if word not in SMALL), *_to_whom(order)]))
    return Reading(asks, _time(tokens, asks), words, order, tokens.count("by"), people, _roles(order))


def _to_whom(order: tuple[str, ...]) -> tuple[str, ...]:
    """Return the "to" of "who do I report to", which is not "who do I report"."""
    return (
        ("to",)
        if order[-1:] == ("to",) or any(pair in {("to", "who"), ("to", "what")} for pair in pairwise(order))
        else ()
    )


def _roles(order: tuple[str, ...]) -> Mapping[str, str]:
    return {
        word: before if before in DISTINCT else "of"
        for before, word in pairwise(order)
        if before in PIVOTS and word not in SMALL
    }


def _rewritten(question: str) -> tuple[str, frozenset[str], People]:
    """Return the question in small letters with one phrase for each meaning, the acronyms in it, and who is spoken of."""
    names = frozenset(
        word.lower() for word in re.findall(r"\b[A-Z]{2,}\b|(?<=\w )[A-HJ-Z]\b", question) if not question.isupper()
    )
    capitals = _capitals(question)
    text = dates_in_one_way(" ".join(_spelt(chunk, capitals) for chunk in _in_small(question.split())))
    for pattern, instead in OPENINGS:
        text = pattern.sub(instead, text)
    people = people_in(text)
    for pattern, instead in PHRASES:
        text = pattern.sub(instead, text)
    return text, names, people


def _capitals(question: str) -> frozenset[str]:
    """Return the words that may be names, in small letters."""
    return frozenset(word.lower() for word in re.findall(r"(?<!^)\b[A-Z][\w]+", question))


def _spelt(chunk: str, names: frozenset[str]) -> str:
    """Return a chunk without its typing error, unless it may be a name."""
    bare = chunk.strip(_EDGES)
    return chunk if bare in names or not bare else chunk.replace(bare, synonyms().spelt(bare))


def _in_full(tokens: list[str]) -> list[str]:
    """Return the tokens with short units behind numbers in full."""
    return [
        UNITS.get(token, token) if before[-1:].isdigit() else token
        for before, token in zip(["", *tokens], tokens, strict=False)
    ]


def _in_small(chunks: list[str]) -> list[str]:
    return [_small(chunk, before) for before, chunk in zip(["", *chunks], chunks, strict=False)]


def _small(chunk: str, before: str) -> str:
    # A short unit behind its number means something else in other letters: mW is not MW.
    is_unit = re.fullmatch(r"[a-zA-Z]{1,3}\W*", chunk) and before[-1:].isdigit()
    return chunk if is_unit or re.fullmatch(r"[-+]?\d[\d.,]*[a-zA-Z]{1,3}\W*", chunk) else chunk.lower()


def _tokens(chunk: str) -> list[str]:
    bare = chunk.strip(_EDGES)
    if not bare:
        return []
    if _WORD.fullmatch(bare):
        return re.split(r"[-']", bare)
    return parts_of(bare)


def _asks(tokens: list[str], *, opened: bool) -> tuple[str, ...]:
    found = [_asked(tokens, at) for at, token in enumerate(tokens) if _is_asking(tokens, at, token, opened=opened)]
    if not found:
        found = ["whether" if tokens and tokens[0] in AUXILIARIES else "what"]
    if set(found) <= {"how", "where"}:  # how do I, how can I and how to are one
        return tuple(sorted(found))
    modal = "must" if OBLIGED & set(tokens) else "can" if ABLE & set(tokens) else ""
    if modal == "must" and all(word in {"when", "where"} or word.startswith("how") for word in found):
        modal = ""  # When it must be is when it is.
    return (*sorted(found), modal)


def _is_asking(tokens: list[str], at: int, word: str, *, opened: bool) -> bool:
    if word not in ASKING:
        return False
    following = tokens[at + 1] if at + 1 < len(tokens) else ""
    return (
        word not in CONJUNCTIONS
        or not following
        or (at == 0 and opened)
        or following in AUXILIARIES
        or (word == "how" and following not in DROPPED | PERSONS.keys())
        or (word == "how" and following == "to")
    )


def _asked(tokens: list[str], at: int) -> str:
    following = tokens[at + 1] if at + 1 < len(tokens) else ""
    return f"how {following}" if tokens[at] == "how" and following in AMOUNTS else ASKING[tokens[at]]


def _time(tokens: list[str], asks: tuple[str, ...]) -> str:
    found = set(tokens)
    if FUTURE & found:
        # When something is done is when it will be done.
        return "present" if "when" in asks else "future"
    # Without an auxiliary the verb tells, as in "who signed".
    if PAST & found or (not AUXILIARIES & found and any(map(_tells_past, tokens))) or _is_perfect(tokens):
        return "past"
    return "present" if (AUXILIARIES | ASKING.keys()) & found else ""


def _tells_past(token: str) -> bool:
    return token in PAST_FORMS or _PAST_ENDING.fullmatch(token) is not None


def _is_perfect(tokens: list[str]) -> bool:
    """Tell whether someone has done something: "what has she paid", not "what has she to pay"."""
    return any(
        token in {"has", "have"} and any(map(_tells_past, tokens[at + 1 : at + 4])) for at, token in enumerate(tokens)
    )


def _persons(tokens: list[str]) -> Mapping[str, str]:
    """Return the words for persons, each with the one it is compared as, when they name two."""
    said = {word: PERSONS[word] for word in tokens if word in PERSONS}
    return said if len(set(said.values())) > 1 else {}


def _kept(token: str, before: list[str], named: Mapping[str, str]) -> str:
    """Return the token as it is compared, empty when it may be missing."""
    if token in named:
        return named[token]
    if token in SMALL:
        return token if token in PIVOTS else ASKING[token]
    if token in DROPPED or token in PERSONS or token in ASKING or (token in AMOUNTS and before == ["how"]):
        return ""
    return lemma(token)
