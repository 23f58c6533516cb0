"""Picks the sentences of the sources that answer a question."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from services.generator import sentences, words
from services.generator.events import Source

_MOST_SENTENCES = 4
_WORTH_SAYING = 0.4
"""A further sentence must be worth this share of the best one."""
_SAME = 0.6
"""Two sentences that share more than this share of their words say the same."""

_HEADING_WEIGHT = 0.4
_PAIR_WEIGHT = 0.2
_AFTER_WEIGHT = 0.15
_AFTER_LEAD_WEIGHT = 0.7
"""What a sentence takes over from the one before it, when that asks a question or ends with a colon."""
_NEW_TERM_WEIGHT = 1.0
_RANK_STEP = 0.2

_ASKS_NUMBER = re.compile(
    r"\b(how (many|much|long|old|far|often|large|big|high|fast)|when|what (year|date|time|percentage|number|port|size)"
    r"|wie ?viele?|wann|combien|quand|cu[aá]nt[oa]s?|cu[aá]ndo)\b",
    re.IGNORECASE,
)
_LEADS = ("?", "？", ":", "：")
_CLOSING = "\"'”’»)]`"
_BULLET = re.compile(r"^\s*(?:[-*+•·▪◦–—]\s+|\(?\d{1,3}[.)]\s+|#{1,6}\s+|>\s*)")
_CONTENTS_LINE = re.compile(r"\.{4,}|(?:\. ){3,}|…{2,}|(?:_ ?){4,}")
_BRACKETED_NUMBERS = re.compile(r"[ \t]*[\[【][\s^]*\d[\d\s,;，、^–-]*[\]】]")
_CODE_MARKS = frozenset("{}[]()=<>_/\\`|$;\"'")
_ENDS = re.compile(r"""[.!?…:。！？｡]["'”’»)\]」』]*$""")


@dataclass(frozen=True, slots=True)
class Extract:
    """A sentence as it is shown, and the number of its source."""

    text: str
    number: int


@dataclass(frozen=True, slots=True)
class _Candidate:
    source: Source
    text: str
    stems: frozenset[str]
    pairs: frozenset[tuple[str, str]]
    heading: frozenset[str]
    quality: float
    """From 0 to 1: how much it looks like a sentence worth reading on its own."""
    follows: int | None
    """The place of the sentence before it in the same passage."""


def extract(question: str, sources: Sequence[Source]) -> list[Extract]:
    """Return up to 4 sentences, best first, that answer the question; none only when the sources hold no sentence."""
    candidates = list(_candidates(sources))
    asked = words.content_stems(question) or words.stems(question)
    rarity = _rarity(asked, candidates)
    scores = _scores(question, asked, rarity, candidates)
    chosen: list[int] = []
    while len(chosen) < _MOST_SENTENCES:
        worth = _worth(scores, candidates, chosen, rarity)
        best = max(worth, key=worth.__getitem__, default=None)
        if best is None or worth[best] <= 0 or (chosen and worth[best] < _WORTH_SAYING * scores[chosen[0]]):
            break
        chosen.append(best)
    return [Extract(candidates[i].text, candidates[i].source.number) for i in chosen]


def _worth(
    scores: Sequence[float], candidates: Sequence[_Candidate], chosen: Sequence[int], rarity: dict[str, float]
) -> dict[int, float]:
    """Return what each sentence adds to those chosen; one that covers more of what is still missing adds more."""
    missing = {term: w for term, w in rarity.items() if not any(term in candidates[i].stems for i in chosen)}
    share = sum(missing.values()) if chosen else 0.0
    worth = {}
    for i, candidate in enumerate(candidates):
        if i not in chosen:
            new = _weight(candidate, missing) / share if share else 0.0
            worth[i] = scores[i] * _novelty(candidates, i, chosen) * (1 + _NEW_TERM_WEIGHT * new)
    return worth


def _weight(candidate: _Candidate, rarity: dict[str, float]) -> float:
    return sum(weight for term, weight in rarity.items() if term in candidate.stems)


def _scores(
    question: str, asked: Sequence[str], rarity: dict[str, float], candidates: Sequence[_Candidate]
) -> list[float]:
    pairs = set(pairwise(asked))
    raw = [_relevance(candidate, rarity, pairs) for candidate in candidates]
    wants_number = _ASKS_NUMBER.search(question) is not None
    scores = []
    for candidate, own in zip(candidates, raw, strict=True):
        score = own + _from_before(candidate, candidates, raw)
        if wants_number and any(character.isdigit() for character in candidate.text):
            score *= 1.2
        # A little for the rank alone: where no word matches, the retriever still knew why it found the passage.
        scores.append((score + 0.02) * candidate.quality / (1 + _RANK_STEP * (candidate.source.number - 1)))
    return scores


def _rarity(asked: Sequence[str], candidates: Sequence[_Candidate]) -> dict[str, float]:
    """Return the weight of each term of the question, summing to 1; terms that no sentence holds weigh nothing."""
    counts = {term: sum(term in c.stems or term in c.heading for c in candidates) for term in dict.fromkeys(asked)}
    weights = {term: math.log(1 + len(candidates) / n) for term, n in counts.items() if n}
    total = sum(weights.values())
    return {term: weight / total for term, weight in weights.items()}


def _relevance(candidate: _Candidate, rarity: dict[str, float], pairs: set[tuple[str, str]]) -> float:
    own = _weight(candidate, rarity)
    if not own:
        return 0.0
    above = sum(weight for term, weight in rarity.items() if term in candidate.heading and term not in candidate.stems)
    together = len(pairs & candidate.pairs) / len(pairs) if pairs else 0.0
    return own + _HEADING_WEIGHT * above + _PAIR_WEIGHT * together


def _from_before(candidate: _Candidate, candidates: Sequence[_Candidate], raw: Sequence[float]) -> float:
    if candidate.follows is None:
        return 0.0
    leads = candidates[candidate.follows].text.endswith(_LEADS)
    return (_AFTER_LEAD_WEIGHT if leads else _AFTER_WEIGHT) * raw[candidate.follows]


def _novelty(candidates: Sequence[_Candidate], index: int, chosen: Sequence[int]) -> float:
    alike = max((_alike(candidates[index].stems, candidates[i].stems) for i in chosen), default=0.0)
    return 0.0 if alike > _SAME else 1 - alike


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    smaller = min(len(one), len(other))
    return len(one & other) / smaller if smaller else 0.0


def _candidates(sources: Sequence[Source]) -> Iterator[_Candidate]:
    place = 0
    for source in sources:
        text = source.passage.text
        heading = frozenset(words.content_stems(f"{source.title} {source.passage.heading}"))
        follows: int | None = None
        for start, end in sentences.spans(text):
            shown, quality = _shown(text[start:end]), _quality(text, start, end)
            if not shown:
                continue
            ordered = words.content_stems(shown)
            pairs = frozenset(pairwise(ordered))
            yield _Candidate(source, shown, frozenset(ordered), pairs, heading, quality, follows)
            follows = place
            place += 1


def _shown(sentence: str) -> str:
    """Return a sentence as it reads in an answer: on one line, without its bullet, without the markers of others."""
    text = re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", sentence)
    text = _BRACKETED_NUMBERS.sub("", _BULLET.sub("", text))
    return " ".join(text.split())


def _quality(text: str, start: int, end: int) -> float:
    sentence = text[start:end]
    shown = _BULLET.sub("", sentence)
    count = len(shown.split()) if shown.isascii() else max(len(shown.split()), len(shown) // 4)
    listed = shown != sentence and not sentence.startswith("#")
    complete = _ENDS.search(shown) is not None
    if _CONTENTS_LINE.search(shown) or sentence.startswith("#"):
        return 0.05
    if _is_code(shown):
        return 0.1
    if _is_table(shown):
        return 0.4
    quality = 1.0 if complete or (listed and count >= 5) else 0.3 if count < 8 else 0.7
    if count < 4:
        quality *= 0.4
    if count > 70:
        quality *= 0.6
    if shown.rstrip(_CLOSING).endswith(_LEADS):
        quality *= 0.3
    if start == len(text) - len(text.lstrip()) and shown[:1].islower():  # the passage begins inside this sentence
        quality *= 0.5
    return quality


def _is_code(text: str) -> bool:
    marks = sum(character in _CODE_MARKS for character in text)
    return "```" in text or (len(text) > 20 and marks > 0.15 * len(text))


def _is_table(text: str) -> bool:
    marks = sum(character.isdigit() or character in "|%$€()" for character in text)
    return len(text) > 20 and marks > 0.35 * len(text)
