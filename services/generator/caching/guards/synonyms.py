"""Words that stand for each other, and words that are one slip of a finger from what was meant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from services.generator.caching.guards.inflection import lemma
from services.generator.caching.guards.tables import WORDS

_LONG = 7
"""Letters of a word with a typing error that is still known: of a shorter one there are too many others."""


@dataclass(frozen=True, slots=True)
class Synonyms:
    """The groups of words that stand for each other."""

    heads: Mapping[tuple[str, ...], str]
    """What stands for a word, or for several in a row, by their lemmas."""
    longest: Mapping[str, int]
    """How many words the longest entry has that starts with a lemma."""
    known: frozenset[str]
    """Words that are spelt right, and their lemmas."""
    meant: frozenset[str]
    """Those of them that others are taken for when these have a typing error."""
    shortened: Mapping[str, tuple[str, ...]]
    """The known long words that a text is with one letter left out."""

    def joined(self, tokens: Sequence[str]) -> list[str]:
        """Return the tokens with each word or phrase of a group as the one that stands for the group."""
        lemmas = [lemma(token) for token in tokens]
        found: list[str] = []
        at = 0
        while at < len(tokens):
            taken, head = self._at(lemmas, at)
            found.append(head or tokens[at])
            at += taken
        return found

    def _at(self, lemmas: Sequence[str], at: int) -> tuple[int, str]:
        for count in range(self.longest.get(lemmas[at], 0), 0, -1):
            if head := self.heads.get(tuple(lemmas[at : at + count])):
                return count, head
        return 1, ""

    def spelt(self, token: str) -> str:
        """Return the long word that a token is one typing error away from; the token when there is none, or several."""
        if len(token) < _LONG or not token.isalpha() or token in self.known:
            return token
        word = lemma(token)
        if word in self.known:
            return token
        meant = self._meant(token) or (self._meant(word) if len(word) >= _LONG else set())
        return meant.pop() if len(meant) == 1 else token

    def _meant(self, token: str) -> set[str]:
        shorter = _shortened(token)
        near = {word for word in shorter if word in self.meant}
        near.update(word for text in (token, *shorter) for word in self.shortened.get(text, ()))
        return {word for word in near if len(word) >= _LONG and _is_slip(token, word)}


@lru_cache(maxsize=1)
def synonyms() -> Synonyms:
    """Return what the file beside this module lists. Read once."""
    heads: dict[tuple[str, ...], str] = {}
    for members in _groups():
        for member in members:
            heads[_lemmas(member)] = members[0].replace(" ", "_")
    longest: dict[str, int] = defaultdict(int)
    for words in heads:
        longest[words[0]] = max(longest[words[0]], len(words))
    spelt = _forms(word for members in _groups() for member in members for word in member.split()) | WORDS
    shortened: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for word in sorted(spelt):
        for text in _shortened(word) if len(word) >= _LONG else ():
            shortened[text] += (word,)
    return Synonyms(
        heads, dict(longest), frozenset(spelt | _forms(_lines("lookalikes.txt"))), frozenset(spelt), dict(shortened)
    )


def _groups() -> list[list[str]]:
    return [[member.strip() for member in line.split(",")] for line in _lines("synonyms.txt")]


def _lines(name: str) -> list[str]:
    text = (resources.files(__package__) / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _lemmas(text: str) -> tuple[str, ...]:
    return tuple(lemma(word) for word in text.split())


def _forms(words: Iterable[str]) -> set[str]:
    return {form for word in words for form in (word, lemma(word))}


def _shortened(word: str) -> set[str]:
    return {word[:at] + word[at + 1 :] for at in range(len(word))}


def _is_slip(typed: str, word: str) -> bool:
    """Tell whether one letter is missing, too many, another, or has changed places with the next; never the first or last.

    Prefixes and endings are where other words differ: unpaid and inpaid, trainer and trainee.
    """
    if typed[0] != word[0] or typed[-1] != word[-1]:
        return False
    if len(typed) != len(word):
        longer, shorter = (typed, word) if len(typed) > len(word) else (word, typed)
        return len(longer) - len(shorter) == 1 and shorter in _shortened(longer)
    differing = [at for at in range(len(word)) if typed[at] != word[at]]
    if len(differing) == 1:
        return True
    return len(differing) == 2 and differing[1] - differing[0] == 1 and sorted(typed) == sorted(word)
