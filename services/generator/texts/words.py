"""Words of a text, reduced so that two forms of a word compare equal."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Protocol, cast

import snowballstemmer

# Scripts written without spaces: pairs of characters stand in for words.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}]+(?:['’][^\W_{_UNSPACED}]+)*")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")

_FUNCTION_WORDS = (
    "a about after all also am an and any are as at be been before being both but by can could did do does doing done "
    "during each either etc for from had has have having he her here hers him his how i if in into is it its itself "
    "just let like may me might more most much must my no nor not of off on once only or other our out over own per "
    "please shall she should so some such tell than that the their them then there these they this those through to "
    "too under until up us use used using very was we were what when where whether which while who whom whose why "
    "will with within without would you your"
)


class _Stemmer(Protocol):
    def stemWord(self, word: str) -> str: ...  # noqa: N802 - the library's name


def stems(text: str) -> list[str]:
    """Return the stems of a text's words, in order; of unspaced scripts, the pairs of neighbouring characters."""
    found: list[str] = []
    for word in _WORD.findall(text.lower()):
        if word.isascii() or not _IS_UNSPACED.match(word):
            found.append(_stem(word))
        else:
            found.extend(word[i : i + 2] for i in range(max(1, len(word) - 1)))
    return found


def content_stems(text: str) -> list[str]:
    """Return the stems that carry meaning: those of function words are left out."""
    function_stems = _function_stems()
    return [stem for stem in stems(text) if stem not in function_stems]


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    # A longer "word" is data, and stemming it would cost time by its length.
    return _stemmer().stemWord(word.replace("’", "'")) if len(word) <= 40 else word


@lru_cache(maxsize=1)
def _stemmer() -> _Stemmer:
    return cast("_Stemmer", snowballstemmer.stemmer("english"))


@lru_cache(maxsize=1)
def _function_stems() -> frozenset[str]:
    written = _FUNCTION_WORDS.split()
    return frozenset(_stem(word) for word in written) | frozenset(written)
