"""What a question asks for: its words, the names in it, and what kind of answer it wants."""

from __future__ import annotations

import re

from services.generator.extraction.quotable import Candidate, Form
from services.generator.texts import words

DEFINES = 0.5
"""What a candidate is worth beside its words when it begins with what is to be explained."""
NUMBER = 1.2
"""How much more the words of one are worth that holds a number, or a reason, when that is asked for."""

_ASKS_NUMBER = re.compile(
    r"\b(how (many|much|long|old|far|often|large|big|high|fast)|when|what (year|date|time|percentage|number|port|size|proportion)"
    r"|wie ?viele?|wann|combien|quand|cu[aá]nt[oa]s?|cu[aá]ndo)\b",
    re.IGNORECASE,
)
_HOW_MUCH = re.compile(r"\bhow (?:many|much|long|old|far|often|large|big|high|fast)\b", re.IGNORECASE)
_NAME = re.compile(r"(?<=[^.?!] )(?:[A-Z][\w&'’-]*|\w*\d\w*)")
_ASKS_MEANING = re.compile(
    r"^\s*(?:what (?:is|are|does|do)|define|explain)\s+(?:an?\s+|the\s+)?(?P<name>.{1,60}?)\s*(?:mean|stand for)?\s*\?*\s*$",
    re.IGNORECASE,
)
_ASKS_HOW_TO = re.compile(
    r"\b(?:how (?:do|can|could|should|to)|(?:which|what) (?:command|request|call)|with which)\b", re.IGNORECASE
)
_ASKS_WHY = re.compile(r"^\s*(?:why|what for|for what reason)\b", re.IGNORECASE)
_GIVES_REASON = re.compile(
    r"\b(?:because|so that|since|therefore|otherwise|due to|in order to|or else|would)\b", re.IGNORECASE
)
_QUARTER = re.compile(
    r"\b(first|second|third|fourth) (?:fiscal )?quarter\b|\bquarter (one|two|three|four)\b", re.IGNORECASE
)
_QUARTERS = {
    "first": "q1",
    "second": "q2",
    "third": "q3",
    "fourth": "q4",
    "one": "q1",
    "two": "q2",
    "three": "q3",
    "four": "q4",
}


class Wants:
    """What kind of answer a question asks for."""

    def __init__(self, question: str) -> None:
        self.number = _ASKS_NUMBER.search(question) is not None
        self.how_to = _ASKS_HOW_TO.search(question) is not None
        self.why = _ASKS_WHY.search(question) is not None
        meaning = _ASKS_MEANING.match(question)
        self._name = terms(meaning["name"]) if meaning else []

    def bonus(self, candidate: Candidate, own: float) -> float:
        """Return what is added for a candidate of the kind that is asked for."""
        if self._name and candidate.form not in {Form.CODE, Form.FRAGMENT}:
            begins = terms(candidate.text[:120])[: len(self._name)]
            if begins == self._name:
                return DEFINES
        if self.number and any(map(str.isdigit, candidate.text)):
            return (NUMBER - 1) * own
        if self.why and _GIVES_REASON.search(candidate.text):
            return (NUMBER - 1) * own
        return 0.0


def terms(text: str) -> list[str]:
    """Return the stems of a text that carry meaning; "third quarter" and "Q3" are one."""
    return words.content_stems(with_quarters(text))


def with_quarters(text: str) -> str:
    """Return a text in which each quarter of a year is called by one name."""
    return _QUARTER.sub(lambda found: _QUARTERS[(found[1] or found[2]).lower()], text)


def asked_terms(question: str) -> list[str]:
    """Return the terms of a question without the words that only ask; all its words when nothing else is left."""
    return terms(_HOW_MUCH.sub(" ", question)) or words.stems(question)


def named_terms(question: str) -> frozenset[str]:
    """Return the terms of the names and numbers in a question, its first word aside."""
    return frozenset(terms(" ".join(_NAME.findall(question))))
