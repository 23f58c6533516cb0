"""How much each candidate is worth as an answer to a question."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from services.generator.events import Source
from services.generator.extraction.asking import Wants, asked_terms, named_terms, terms, with_quarters
from services.generator.extraction.layout import ends_like_sentence
from services.generator.extraction.quotable import Candidate, Form

HEADING = 0.4
"""The weight of a term of the question that stands in the heading only; a term of the candidate weighs 1."""
PASSAGE = 0.25
"""That of one that stands in the passage only, or in the title of its document."""
NAMED = 0.5
"""That of a name or a number of the question: it tells which document is meant, and is seldom said in each sentence."""
PAIR = 0.1
BEFORE = 0.2
"""What a candidate takes over from the one before it in its passage."""
BEFORE_LEAD = 0.7
"""The same when that one asks a question or ends with a colon."""
RANK_STEP = 0.12
RARITY = 0.5
"""How far a rare term goes before a common one; the common ones are what the passages were found by."""

_CLOSING = "\"'”’»)]`"
_LEADS = ("?", "？", ":", "：")
_SHORT_STEM = 4
_CODE_MARK = re.compile(r"""[{}\[\]()=<>_/\\`|$;"']""")
_TABLE_MARK = re.compile(r"[\d|%$€()]")
_LEAST = 0.02


@dataclass(frozen=True, slots=True)
class Weighed:
    """A candidate with its words and its worth."""

    candidate: Candidate
    stems: frozenset[str]
    score: float


def weigh(question: str, candidates: Sequence[Candidate]) -> tuple[list[Weighed], dict[str, float]]:
    """Return the candidates with their scores, and the weights of the question's terms, which sum to 1.

    Terms that nothing holds weigh nothing; there are no weights when no candidate holds any.
    """
    asked = asked_terms(question)
    names = named_terms(question)
    read = _Read(candidates, asked)
    weights = _weights(asked, read)
    own = [_relevance(place, read, weights, set(pairwise(asked)), names) for place in range(len(candidates))]
    wants = Wants(question)
    asked_set = set(asked)
    found = []
    nothing_said = not any(own)
    for place, candidate in enumerate(candidates):
        score = own[place] + read.from_before(place, own) + wants.bonus(candidate, own[place])
        if score or nothing_said:
            # Where no word matches, the retriever still knew why it found the passage.
            score = (score or _LEAST) * _quality(candidate, asked_set, wants)
            score /= 1 + RANK_STEP * (candidate.source.number - 1)
        found.append(Weighed(candidate, read.stems[place], score))
    return found, {} if nothing_said else weights


class _Read:
    """The words of candidates, and of what is around them, each text looked at once."""

    def __init__(self, candidates: Sequence[Candidate], asked: Sequence[str]) -> None:
        self.candidates = candidates
        self._asked = frozenset(asked)
        self._of_heading: dict[str, frozenset[str]] = {}
        self._of_source: dict[int, frozenset[str]] = {}
        ordered = [terms(candidate.text) for candidate in candidates]
        self.stems = [frozenset(stems) for stems in ordered]
        self.pairs = [frozenset(pairwise(stems)) for stems in ordered]
        self.headings = [self._heading(candidate) for candidate in candidates]
        self.around = [self._around(candidate.source) for candidate in candidates]

    def from_before(self, place: int, own: Sequence[float]) -> float:
        """Return what a candidate takes over from the one before it in the same passage."""
        if place == 0 or self.candidates[place - 1].source.number != self.candidates[place].source.number:
            return 0.0
        before = self.candidates[place - 1]
        return (BEFORE_LEAD if before.text.endswith(_LEADS) else BEFORE) * own[place - 1]

    def _heading(self, candidate: Candidate) -> frozenset[str]:
        text = f"{candidate.source.passage.heading}\n{candidate.heading}"
        if text not in self._of_heading:
            self._of_heading[text] = frozenset(terms(text))
        return self._of_heading[text]

    def _around(self, source: Source) -> frozenset[str]:
        """Return which terms of the question stand in the passage, its title and the lines that are never shown included."""
        if source.number not in self._of_source:
            text = with_quarters(f"{source.title}\n{source.passage.text}").lower()
            self._of_source[source.number] = frozenset(term for term in self._asked if _stands_in(term, text))
        return self._of_source[source.number]


def _stands_in(term: str, text: str) -> bool:
    """Tell whether some word of a text begins with a stem. To find the stems of all its words would take ten times as long."""
    if len(term) < _SHORT_STEM:
        return re.search(rf"\b{re.escape(term)}\b", text) is not None
    return term.removesuffix("i") in text


def _weights(asked: Sequence[str], read: _Read) -> dict[str, float]:
    said = Counter(term for stems, heading in zip(read.stems, read.headings, strict=True) for term in stems | heading)
    near = frozenset().union(*read.around)
    counts = {term: said[term] or int(term in near) for term in dict.fromkeys(asked)}
    weights = {term: math.log(1 + len(read.stems) / count) ** RARITY for term, count in counts.items() if count}
    total = sum(weights.values())
    return {term: weight / total for term, weight in weights.items()}


def _relevance(
    place: int, read: _Read, weights: Mapping[str, float], pairs: set[tuple[str, str]], names: frozenset[str]
) -> float:
    said = weights.keys() & read.stems[place]
    if not said:
        return 0.0
    above = (weights.keys() & read.headings[place]) - said
    near = (weights.keys() & read.around[place]) - said - above
    together = len(pairs & read.pairs[place]) / len(pairs) if pairs else 0.0
    # In a fixed order: the last digit of a sum depends on it, and a tie may depend on the last digit.
    return (
        sum(weights[term] for term in sorted(said))
        + HEADING * sum(weights[term] for term in sorted(above))
        + sum(weights[term] * (NAMED if term in names else PASSAGE) for term in sorted(near))
        + PAIR * together
    )


def _quality(candidate: Candidate, asked: set[str], wants: Wants) -> float:
    """Return from 0 to 1 how much it looks like something worth reading on its own."""
    text = candidate.text
    count = len(text.split()) if text.isascii() else max(len(text.split()), len(text) // 4)
    match candidate.form:
        case Form.FRAGMENT:
            return 0.1
        case Form.CODE:
            return 0.4 if wants.how_to else 0.1
        case Form.INTRODUCED:
            return 1.0 if wants.how_to or not _is_code(text) else 0.3
        case Form.FIGURES:
            return _of_label(candidate.label, asked)
        case Form.ROW:
            return 0.9
    return _of_prose(candidate, count)


def _of_label(label: str, asked: set[str]) -> float:
    """A row of figures answers as far as its label is what was asked for."""
    named = set(terms(label))
    return 0.25 + 0.75 * len(named & asked) / len(named) if named else 0.1


def _of_prose(candidate: Candidate, count: int) -> float:
    text = candidate.text
    if _is_code(text):
        return 0.1
    if _is_table(text):
        return 0.4
    complete = ends_like_sentence(text)
    quality = 1.0 if complete or (candidate.form is Form.ITEM and count >= 5) else 0.3 if count < 8 else 0.7
    if count < 6:
        quality *= 0.4 if count < 4 else 0.7
    if count > 70:
        quality *= 0.6
    if text.rstrip(_CLOSING).endswith(_LEADS):
        quality *= 0.3
    if candidate.opens_passage and text[:1].islower():  # the passage begins inside this sentence
        quality *= 0.5
    return quality


def _is_code(text: str) -> bool:
    marks = len(_CODE_MARK.findall(text))
    return "```" in text or (len(text) > 20 and marks > 0.15 * len(text))


def _is_table(text: str) -> bool:
    marks = len(_TABLE_MARK.findall(text))
    return len(text) > 20 and marks > 0.35 * len(text)
