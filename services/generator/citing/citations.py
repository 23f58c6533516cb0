"""Checks the markers of an answer while it streams: only those that resolve to a source get through.

A marker is a bracket with nothing but numbers in it: `[1]`, `[1, 2]`, `[^1]`, `【1】`. It leaves as `[n]`, one bracket per
number, so that every citation has a span of its own. Any other bracket, such as `[sic]` or `a[i]`, is text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

from services.generator.citing.quotes import Quotes
from services.generator.events import Citation, Source
from services.generator.texts import sentences

_OPEN = re.compile(r"[\[【]")
_CLOSE = frozenset("]】")
_BLANK = " \t"
# What a marker may begin with, as far as it goes. It never backtracks: a model's text must not cost more than its length.
_INSIDE = re.compile(
    r"[ \t]*+\^?(?:(?P<first>\d++)(?:[ \t]*+[,;，、][ \t]*+\^?\d++)*+[ \t]*+(?P<more>[,;，、][ \t]*+\^?)?)?",
)
_LONGEST = 64
"""A marker has no more characters between its brackets, and no more blanks before it count as its own."""
_SHOWN = re.compile(r"\s*\[\d+\]")
_TAIL_CHARS = 1_000


def numbers_in(marker: str) -> list[int]:
    """Return the numbers of a marker, in order; 0, which no source has, for one of ten digits or more."""
    return [int(digits) if len(digits) < 10 else 0 for digits in re.findall(r"\d+", marker)]


class CitationChecker:
    """Takes an answer's text as it comes; returns the text to release, with its citations.

    However the text is split, the released text and the citations are the same. Text is held back only while it may
    still become a marker.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = {source.number: source for source in sources}
        self._quotes = Quotes()
        self._released: list[str] = []
        self._length = 0
        self._held = ""
        self.dropped = 0
        """How many marker numbers resolved to no source."""

    def feed(self, delta: str) -> list[str | Citation]:
        """Return what can be released now: text, and each citation right after the text that ends its marker."""
        if not self._held and "[" not in delta and "【" not in delta and delta[-1:] not in {" ", "\t"}:
            return [self._release(delta)] if delta else []
        return self._check(self._held + delta)

    def close(self) -> list[str | Citation]:
        """Return what was held back, at the end of the answer. A marker that was cut off is dropped."""
        rest, self._held = self._held, ""
        if any(character.isdigit() for character in rest):
            self.dropped += 1
            return []
        return [self._release(rest)] if rest else []

    def text(self) -> str:
        """Return all that was released so far."""
        return "".join(self._released)

    def _check(self, text: str) -> list[str | Citation]:
        out: list[str | Citation] = []
        at = search = 0
        while opened := _OPEN.search(text, search):
            bracket, search = opened.start(), opened.end()
            inside = cast("re.Match[str]", _INSIDE.match(text, search))
            lead = _blanks_before(text, at, bracket)
            if inside.end() - search > _LONGEST:
                # Too long for a marker, and not to become one: only its bracket changes.
                self.dropped += 1
                self._push(out, text[at:bracket] + "(")
                at = search
            elif inside.end() == len(text):
                return self._hold(out, text, at, lead)
            elif text[inside.end()] in _CLOSE and inside["first"] and not inside["more"]:
                self._push(out, text[at:lead])
                self._mark(out, text[lead:bracket], inside[0])
                at = search = inside.end() + 1
        return self._hold(out, text, at, _blanks_before(text, at, len(text)))

    def _hold(self, out: list[str | Citation], text: str, start: int, end: int) -> list[str | Citation]:
        """Release the text between, hold back what follows, and return all that is released."""
        self._push(out, text[start:end])
        self._held = text[end:]
        return out

    def _mark(self, out: list[str | Citation], lead: str, marker: str) -> None:
        numbers = dict.fromkeys(numbers_in(marker))
        known = [self._sources[number] for number in numbers if number in self._sources]
        self.dropped += len(numbers) - len(known)
        if not known and self._is_open():
            self._push(out, "[]")
        for source in known:
            statement = self._statement()
            self._push(out, lead)
            start = self._length
            self._push(out, f"[{source.number}]")
            out.append(self._citation(source, statement, start))
            lead = ""

    def _citation(self, source: Source, statement: str, start: int) -> Citation:
        passage = source.passage
        quote = self._quotes.nearest(passage, statement)
        return Citation(
            number=source.number,
            passage_id=passage.id,
            page=passage.page,
            char_start=start,
            char_end=self._length,
            quote=passage.text[quote.start : quote.end],
            quote_start=passage.char_start + quote.start,
            quote_end=passage.char_start + quote.end,
            document_id=passage.document_id,
            version=passage.version,
            support=quote.support,
        )

    def _statement(self) -> str:
        """Return the sentence of the answer that a marker standing here belongs to."""
        tail = _SHOWN.sub("", self._tail())
        found = sentences.spans(tail)
        return tail[slice(*found[-1])] if found else ""

    def _is_open(self) -> bool:
        """Tell whether what was released last would become a marker if a dropped one left no trace: `[9[8]]`."""
        tail = self._tail()
        opened = max(tail.rfind("["), tail.rfind("【"))
        return opened >= 0 and _INSIDE.fullmatch(tail, opened + 1) is not None

    def _tail(self) -> str:
        parts: list[str] = []
        missing = _TAIL_CHARS
        for part in reversed(self._released):
            parts.append(part)
            missing -= len(part)
            if missing <= 0:
                break
        return "".join(reversed(parts))[-_TAIL_CHARS:]

    def _push(self, out: list[str | Citation], text: str) -> None:
        if not text:
            return
        self._release(text)
        if out and isinstance(last := out[-1], str):
            out[-1] = last + text
        else:
            out.append(text)

    def _release(self, text: str) -> str:
        self._released.append(text)
        self._length += len(text)
        return text


def _blanks_before(text: str, start: int, end: int) -> int:
    """Return where the blanks begin that end at `end`, not before `start`."""
    first = max(start, end - _LONGEST)
    return first + len(text[first:end].rstrip(_BLANK))
