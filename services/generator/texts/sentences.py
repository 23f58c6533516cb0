"""Sentences of a text, as exact spans of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int]
"""First character and one past the last, in code points."""

_END = re.compile(r"""[.!?…]+["'”’»)\]]*(?=\s|$)|[。！？｡]+[」』”’）】]*""")
_NEXT = re.compile(r"\s*\S")
_LIST_ITEM = re.compile(r"[ \t]*(?:[-*+•·▪◦–—]\s|\(?\d{1,3}[.)]\s|\(?[a-zA-Z][.)]\s|#{1,6}\s|\||>)")
_STANDS_ALONE = re.compile(r"[ \t]*(?:#{1,6}\s|.*(?:^|\s)\|(?:\s|$))")
_LAST_WORD = re.compile(r"[^\s(\[\"“]+$")

_ALWAYS_SHORT = re.compile(r"mrs?|ms|dr|prof|[sj]r|st|vs|cf|al|approx|resp|bzw|gen|gov|sen|rep|capt|lt|col|sgt|messrs")
_SHORT_BEFORE_NUMBER = re.compile(r"no|nos|nr|figs?|eqs?|pp?|vols?|sect?|ch|chap|art|para?|tab|refs?")
_DOTTED = re.compile(r"(?:[a-z]\.)+[a-z]")


def spans(text: str) -> list[Span]:
    """Return the sentences, in order, without the white space around them.

    They never overlap, and all that is between them is white space. A line break ends a sentence only where the
    layout says so: wrapped lines are one sentence.
    """
    found: list[Span] = []
    cased = not text.islower()
    for start, end in _blocks(text):
        at = start
        for stop in _stops(text, start, end, cased=cased):
            _add(found, text, at, stop)
            at = stop
        _add(found, text, at, end)
    return found


def _add(found: list[Span], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    kept = piece.strip()
    if kept:
        start += len(piece) - len(piece.lstrip())
        found.append((start, start + len(kept)))


def _stops(text: str, start: int, end: int, *, cased: bool) -> Iterator[int]:
    for match in _END.finditer(text, start, end):
        if match[0][0] in "。！？｡":
            yield match.end()
            continue
        following = _NEXT.match(text, match.end(), end)
        first = following[0][-1] if following else ""
        if not (cased and first.islower()) and _is_end(text, start, match.start(), first):
            yield match.end()


def _is_end(text: str, start: int, dot: int, following: str) -> bool:
    if text[dot] != "." or not following:
        return True
    word = _LAST_WORD.search(text, max(start, dot - 40), dot)
    last = word[0].lower() if word else ""
    if _ALWAYS_SHORT.fullmatch(last) or _DOTTED.fullmatch(last):
        return False
    if following.isdigit() and _SHORT_BEFORE_NUMBER.fullmatch(last):
        return False
    if len(last) == 1 and last.isalpha() and text[dot - 1].isupper():  # an initial, as in "J. Smith" or "U.S."
        return False
    begin = dot - len(last)
    # The number of a list item ends nothing.
    return not (last.isdigit() and begin - start < 8 and not text[start:begin].strip())


def _blocks(text: str) -> Iterator[Span]:
    """Yield the stretches that no sentence crosses: paragraphs, list items, headings, table rows."""
    lines = [(m.start(), m.end()) for m in re.finditer(r"[^\n\f]+", text)]
    width = max((end - start for start, end in lines), default=0)
    begin = previous = None
    for start, end in lines:
        if begin is None or previous is None:
            begin = start
        elif _breaks(text, previous, (start, end), width):
            yield begin, previous[1]
            begin = start
        previous = (start, end)
    if begin is not None and previous is not None:
        yield begin, previous[1]


def _breaks(text: str, previous: Span, line: Span, width: int) -> bool:
    before, now = text[slice(*previous)].rstrip(), text[slice(*line)]
    if not before or not now.strip() or text[previous[1] : line[0]] != "\n":
        return True
    if _LIST_ITEM.match(now) or _STANDS_ALONE.match(before) or _STANDS_ALONE.match(now):
        return True
    # A line much shorter than the others, with no sign of going on, is a heading or the end of a paragraph.
    first = now.lstrip()[0]
    return len(before) < 0.5 * width and before[-1] not in ",;-–—" and (first.isupper() or first.isdigit())
