"""What an extract is made of, and how it is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from services.generator.events import Source

JOINT = " · "
"""Stands where cells of a row, items of a list, or the head of a table and one of its rows come together."""
OMITTED = " … "
"""Stands where the rows between the head of a table and the one that is quoted were left out."""

_BULLET = re.compile(r"^\s*(?:[-*+•·▪◦–—]\s+|\(?\d{1,3}[.)]\s+|#{1,6}\s+|>\s*)")
_BRACKETED_NUMBERS = re.compile(r"[ \t]*[\[【][\s^]*\d[\d\s,;，、^–-]*[\]】]")
_HYPHENATED = re.compile(r"(?<=[a-z])-\n(?=[a-z])")


class Form(Enum):
    """What a candidate is, for its worth as an answer."""

    SENTENCE = auto()
    ITEM = auto()
    ROW = auto()
    FIGURES = auto()
    INTRODUCED = auto()
    """A sentence that ends with a colon, and what it introduces."""
    CODE = auto()
    FRAGMENT = auto()


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that can be quoted. `text` is as it is shown; `label` is what names it, if it is a row."""

    source: Source
    form: Form
    start: int
    """The first character in the passage."""
    text: str
    label: str
    heading: str
    """The nearest heading above it inside the passage, and what the columns of its table are called."""
    opens_passage: bool
    """True when the passage begins with it, and so perhaps in the middle of it."""


def shown(text: str) -> str:
    """Return a stretch of a passage as it reads in an answer.

    It is on one line, without its bullet, without the markers of its own sources, and words that a line break cut are whole.
    """
    line = " ".join(_HYPHENATED.sub("", text).split())
    return _BRACKETED_NUMBERS.sub("", _BULLET.sub("", line)).strip()
