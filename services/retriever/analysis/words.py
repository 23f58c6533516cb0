"""Cuts a text into words, whatever its script. The text becomes one form first: width, case and invisible characters go."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

MAX_CHARS = 65_536
"""What is read of a text; passages are much shorter."""
_MAX_WORD_CHARS = 64

_UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece"  # Thai, Lao
    "\u1000-\u1049\u1050-\u109f\u1780-\u17d3"  # Burmese, Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u302f\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"  # kana
    "\u3105-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
    "\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7fb"  # Korean, which has spaces, but hangs its particles on
)
"""Scripts whose words no space parts, or not from what is hung on them."""
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0711-\u074a"
    "\u0900-\u0963\u0970-\u0dff\u0f71-\u0f84\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
)
"""Signs inside words that a regular expression does not take for word characters."""
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]+")

_ASCII_WORD = re.compile(r"\w+(?:[.'-]\w+)*[+#]{0,2}", re.ASCII)
_IN_WORD = rf"[\w{_MARKS}{_UNSPACED}]"
_WORD = re.compile(rf"{_IN_WORD}+(?:[.'’-]{_IN_WORD}+)*[+#]{{0,2}}")
_RUN = re.compile(rf"[{_UNSPACED}]+|[^{_UNSPACED}]+")
_PART = re.compile(rf"(?:(?!_){_IN_WORD})+(?:(?<=\d)\.(?=\d)(?:(?!_){_IN_WORD})+)*")
_ASCII_PART = re.compile(r"[a-z0-9]+(?:(?<=\d)\.(?=\d)[a-z0-9]+)*")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_UNSPACED_CHAR = re.compile(rf"[{_UNSPACED}]")


def one_form(text: str) -> str:
    """Return the text as it is compared: compatibility forms, case and invisible characters are gone."""
    text = text[:MAX_CHARS]
    if text.isascii():
        return _THOUSANDS.sub("", text.lower())
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _THOUSANDS.sub("", _INVISIBLE.sub("", folded)[:MAX_CHARS])


def words(text: str) -> list[str]:
    """Return the words of a text in one form, in order: `state-of-the-art` and `max_tokens` are one, a Chinese sentence too."""
    pattern = _ASCII_WORD if text.isascii() else _WORD
    found: list[str] = pattern.findall(text)
    if text.isascii() or not _UNSPACED_CHAR.search(text):
        return [word[:_MAX_WORD_CHARS] for word in found]
    return [part for word in found for part in _taken_apart(word)]


def _taken_apart(word: str) -> Iterator[str]:
    """A word, or its runs of scripts with and without spaces."""
    if not _UNSPACED_CHAR.search(word):
        yield word[:_MAX_WORD_CHARS]
        return
    for run in _RUN.findall(word):
        if is_unspaced(run):
            yield run
        else:
            yield from (part[:_MAX_WORD_CHARS] for part in _WORD.findall(run))


def parts(word: str) -> list[str]:
    """Return what a word of `words` is put together from; numbers such as 3.5 stay whole. None of a word of underscores."""
    found: list[str] = (_ASCII_PART if word.isascii() else _PART).findall(word)
    return found


def is_unspaced(word: str) -> bool:
    """Whether a word of `words` is a run of a script without spaces, to be cut into pairs of characters."""
    return not word.isascii() and _UNSPACED_CHAR.match(word) is not None
