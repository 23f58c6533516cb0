"""The sentence of a passage that stands behind a statement, and how much of the statement it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from rag.passage import Passage
from services.generator.texts import sentences, words

_Sentence = tuple[sentences.Span, Counter[str]]
_NUMBER_MISSING = 0.5
"""A statement is worth at most this share when a number of it stands in no quote: the words around it say little then."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence of a passage: its span in the passage's text, and the share of the statement's words that stand in it."""

    start: int
    end: int
    support: float


class Quotes:
    """Finds quotes in the passages of one answer; each passage is split once."""

    def __init__(self) -> None:
        self._split: dict[str, list[_Sentence]] = {}

    def nearest(self, passage: Passage, statement: str) -> Quote:
        """Return the sentence of the passage nearest to the statement; ties go to the first.

        Nearness is twice the words in common over the words of both, so a sentence repeated as it stands always wins.
        """
        candidates = self._sentences(passage)
        if not candidates:
            return Quote(0, len(passage.text), support(statement, [passage.text]))
        content = words.content_stems(statement)
        said = Counter(content or words.stems(statement))
        (start, end), stems = max(candidates, key=lambda sentence: _nearness(sentence[1], said))
        return Quote(start, end, _share(set(content), stems or words.stems(passage.text[start:end])))

    def _sentences(self, passage: Passage) -> list[_Sentence]:
        if passage.id not in self._split:
            text = passage.text
            self._split[passage.id] = [
                ((start, end), Counter(words.content_stems(text[start:end]))) for start, end in sentences.spans(text)
            ]
        return self._split[passage.id]


def support(statement: str, quotes: Iterable[str]) -> float:
    """Return the share of a statement's words that stand in quotes, 0 to 1; function words do not count.

    A statement of function words only is supported by any quote, as "It is so." is.
    """
    return share(set(words.content_stems(statement)), quotes)


def share(said: Collection[str], quotes: Iterable[str]) -> float:
    """Return the share of the stems of a statement that stand in quotes; see `support`."""
    return _share(said, set().union(*map(words.stems, quotes)))


def _share(said: Collection[str], quoted: Collection[str]) -> float:
    if not said:
        return 1.0 if quoted else 0.0
    common = sum(stem in quoted for stem in said) / len(said)
    has_all_numbers = all(stem in quoted for stem in said if any(map(str.isdigit, stem)))
    return common if has_all_numbers else _NUMBER_MISSING * common


def _nearness(sentence: Counter[str], said: Counter[str]) -> float:
    common = (sentence & said).total()
    return 2 * common / (sentence.total() + said.total()) if common else 0.0
