"""What left the filter for links, as far as what follows depends on it."""

from __future__ import annotations

from services.generator.citing.links_grammar import AFTER, BEFORE
from services.generator.citing.links_reading import CLOSED, Reading

REMOVED = "(link removed)"
"""Stands where a link without a text stood."""


class Released:
    """The text that left, and the care for what it would join."""

    def __init__(self) -> None:
        self.before = ""
        """The last that left, at least its last character."""
        self.is_apart = False
        """What follows must not join what left: a blank comes first."""
        self.removed = 0
        self._texts: list[str] = []

    def taken(self) -> str:
        """Return what left since this was asked last."""
        texts, self._texts = self._texts, []
        return "".join(texts)

    def is_after_bracket(self) -> bool:
        """Tell whether what follows could make a link of the brackets before it."""
        return self.before[-1:] in CLOSED

    def part(self, read: Reading, at: int) -> bool:
        """Release a blank if what follows could join what left; tell whether that can be told yet."""
        end = read.at(AFTER, at).end()
        if read.is_short(end):
            return False
        follows = read.text[end : end + 1]
        if end == at and follows in {"[", "【"}:
            return True
        if follows and not follows.isspace() and follows != "<":
            self.push(" ", at)
        self.is_apart = False
        return True

    def last(self) -> str:
        """Return the last character that left; empty before the first."""
        return self.before[-1:]

    def push(self, text: str, after: int) -> int:
        """Release a text; return the place after what it stands for."""
        if text:
            self._texts.append(text)
            self.before = text
        return after

    def remove(self, left: str, after: int) -> int:
        """Release what is left of a link."""
        self.removed += 1
        left = left or REMOVED
        if self.last() and self.last() not in BEFORE:
            left = f" {left}"
        self.is_apart = True
        return self.push(left, after)
