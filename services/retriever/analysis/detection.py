"""Tells the language of a text by its script, its commonest words and its letters."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

from services.retriever.analysis.stopwords import votes
from services.retriever.analysis.words import is_unspaced

_ENOUGH = 0.9
"""Votes: about one word that no other language has."""
_READ = 250
"""Words; more tell no more."""
_SHARE = 0.05
"""Votes for each word: much less than in any running text."""
_CLEARLY = 1.5
"""How many times the votes of the next language."""

_SCRIPTS = (
    ("ja", re.compile("[\u3041-\u30ff\u31f0-\u31ff]")),
    ("zh", re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")),
    ("ko", re.compile("[\u1100-\u11ff\u3131-\u318e\uac00-\ud7fb]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("el", re.compile("[\u0370-\u03ff\u1f00-\u1fff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
    ("hy", re.compile("[\u0530-\u058f]")),
    ("ta", re.compile("[\u0b80-\u0bff]")),
    ("ka", re.compile("[\u10a0-\u10ff]")),
)
_APOSTROPHE = re.compile("[^'’]+['’]?")  # l' and eau
_UNSPACED = _SCRIPTS[:4]


@lru_cache(maxsize=1 << 14)
def script(word: str) -> str:
    """Return the language that stands for a word's script; "" for Latin letters and all that are not listed."""
    if word.isascii():
        return ""
    return next((language for language, letters in _SCRIPTS if letters.match(word)), "")


def language_of(words: Sequence[str]) -> str:
    """Return the language of these words as ISO 639-1; "" where they do not tell.

    Takes a text's words in one form. Of a text in two scripts the one with more to read counts.
    """
    words = list(
        dict.fromkeys(words[:_READ])
    )  # each once: code repeats a few words that mean something in some language
    sizes: dict[str, int] = defaultdict(int)
    for word in words:
        if word.isascii():
            sizes[""] += len(word)
            continue
        if is_unspaced(word):
            for language, letters in _UNSPACED:
                sizes[language] += 2 * len(letters.findall(word))  # a character says about as much as half a word
        else:
            sizes[script(word)] += len(word)
    if not any(sizes.values()):
        return ""
    if sizes.get("ja") and "zh" in sizes:  # kana are Japanese, and Japanese has Chinese characters too
        sizes["ja"] += sizes.pop("zh")
    main = max(sizes, key=sizes.__getitem__)
    if main in {"", "ru", "ar"}:
        return _voted(words, main)
    return main


def _voted(words: Sequence[str], main: str) -> str:
    table = votes()
    counts: dict[str, float] = defaultdict(float)
    for word in words:
        for part in (word,) if word.isalnum() else _APOSTROPHE.findall(word):
            for language, vote in table.get(part.replace("’", "'"), ()):
                counts[language] += vote
    letters = set("".join(word for word in words if not word.isascii()))
    for letter in letters:
        for language, vote in table.get("letter " + letter, ()):
            counts[language] += vote
    if not counts:
        return main
    first, *others = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    second = others[0][1] if others else 0.0
    if first[1] >= max(_ENOUGH, _SHARE * len(words)) and first[1] >= _CLEARLY * second:
        return first[0]
    return main
