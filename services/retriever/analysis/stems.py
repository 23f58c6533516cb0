"""Word stems by the Snowball algorithms (Porter, 2001; snowballstem.org)."""

from __future__ import annotations

import threading
import unicodedata
from functools import cache, lru_cache
from typing import Any

import snowballstemmer

from services.retriever.analysis.detection import script
from services.retriever.analysis.stopwords import DEFAULT

_ALGORITHMS = {
    "": {
        "en": "english", "de": "german", "fr": "french", "es": "spanish", "it": "italian", "pt": "portuguese",
        "nl": "dutch", "sv": "swedish", "da": "danish", "no": "norwegian", "fi": "finnish", "hu": "hungarian",
        "ro": "romanian", "tr": "turkish", "pl": "polish", "cs": "czech",
    },
    "ru": {"ru": "russian"},
    "el": {"el": "greek"},
    "ar": {"ar": "arabic", "fa": "persian"},
    "hi": {"hi": "hindi"},
    "hy": {"hy": "armenian"},
    "ta": {"ta": "tamil"},
}  # fmt: skip
"""By script, as `script` names it: the algorithm of each language."""
_FOLDED = {*range(0x0300, 0x0370), *range(0x0591, 0x05C8), *range(0x064B, 0x0660)}
_one_at_a_time = threading.Lock()  # a stemmer keeps the word it is at


@lru_cache(maxsize=1 << 16)
def stem(word: str, language: str) -> str:
    """Return the stem of a word in one form, without accents.

    A word in another script than the language's gets the stem of the language that stands for its script.
    """
    algorithms = _ALGORITHMS.get(script(word), {})
    name = algorithms.get(language) or next(iter(algorithms.values()), "")
    if not name or (not word.isalpha() and not _has_marks(word)):
        return without_accents(word)
    with _one_at_a_time:
        stemmed: str = _stemmer(name).stemWord(word)
    return without_accents(stemmed or word)


def all_stems(word: str) -> list[str]:
    """Return the stems that a word has in the languages of its script, each once, the most likely language's first."""
    languages = _ALGORITHMS.get(script(word), {}) or {DEFAULT: ""}
    return list(dict.fromkeys(stem(word, language) for language in languages))


def without_accents(word: str) -> str:
    """Return the word without the marks on its letters, which people leave out as they like."""
    if word.isascii():
        return word
    bare = "".join(char for char in unicodedata.normalize("NFD", word) if ord(char) not in _FOLDED)
    return unicodedata.normalize("NFC", bare) or word


def _has_marks(word: str) -> bool:
    return not word.isascii() and all(char.isalpha() or unicodedata.category(char)[0] == "M" for char in word)


@cache
def _stemmer(name: str) -> Any:
    return snowballstemmer.stemmer(name)
