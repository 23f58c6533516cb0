"""The sentence of a passage that stands behind a statement."""

from __future__ import annotations

from collections import Counter

from rag.passage import Passage
from services.generator import sentences, words

_Sentence = tuple[sentences.Span, Counter[str]]


class Quotes:
    """Finds quotes in the passages of one answer; each passage is split once."""

    def __init__(self) -> None:
        self._split: dict[str, list[_Sentence]] = {}

    def nearest(self, passage: Passage, statement: str) -> sentences.Span:
        """Return the span, in the passage's text, of the sentence nearest to the statement; ties go to the first.

        Nearness is twice the words in common over the words of both, so a sentence repeated as it stands always wins.
        """
        candidates = self._sentences(passage)
        if not candidates:
            return 0, len(passage.text)
        said = Counter(words.content_stems(statement)) or Counter(words.stems(statement))
        best = max(candidates, key=lambda sentence: _nearness(sentence[1], said))
        return best[0]

    def _sentences(self, passage: Passage) -> list[_Sentence]:
        if passage.id not in self._split:
            text = passage.text
            self._split[passage.id] = [
                ((start, end), Counter(words.content_stems(text[start:end]))) for start, end in sentences.spans(text)
            ]
        return self._split[passage.id]


def _nearness(sentence: Counter[str], said: Counter[str]) -> float:
    common = (sentence & said).total()
    return 2 * common / (sentence.total() + said.total()) if common else 0.0
