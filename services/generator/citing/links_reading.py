"""Reads what begins at a place of a text that may go on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.generator.citing.links_addresses import LONGEST, RUN
from services.generator.citing.links_grammar import GROUP, LABEL, LONGEST_MARKER, MARKER, NESTED, TARGET

MORE = -1
"""Not to be told before there is more text."""
CLOSED = frozenset("]】")


@dataclass(frozen=True, slots=True)
class Reading:
    """A text, and whether it is all there is.

    What is told of a place is the same whatever text is added, unless `MORE` is told.
    """

    text: str
    has_ended: bool

    def is_short(self, end: int) -> bool:
        """Tell whether more text could change what was found up to `end`."""
        return end >= len(self.text) and not self.has_ended

    def at(self, pattern: re.Pattern[str], at: int) -> re.Match[str]:
        """Return what a pattern finds here.

        Raises:
            ValueError: It finds nothing, not even nothing: it was asked in the wrong place.
        """
        if found := pattern.match(self.text, at):
            return found
        raise ValueError(pattern.pattern)

    def run(self, at: int) -> str:
        """Return what an address may go on with."""
        return self.at(RUN, at)[0]

    def marker(self, at: int) -> int:
        """Return the end of a marker that begins here, 0 if none does."""
        found = self.at(MARKER, at)
        end = found.end()
        if self.is_short(end) and end - at - 1 <= LONGEST_MARKER:
            return MORE
        is_marker = (
            self.text[end : end + 1] in CLOSED and end - at - 1 <= LONGEST_MARKER and any(map(str.isdigit, found[0]))
        )
        return end + 1 if is_marker else 0

    def link(self, at: int) -> tuple[int, str, str]:
        """Return the end of a link that begins here, its text and its address; 0 if none does."""
        found = LABEL.match(self.text, at)
        if not found:
            return 0, "", ""
        end, label = found.end(), found[1]
        if self.is_short(end) and len(label) < LONGEST:
            return MORE, "", ""
        if self.text[end : end + 1] != "]":
            return 0, "", ""
        if self.is_short(end + 1):
            return MORE, "", ""
        if self.text[end + 1 : end + 2] != "(":
            return 0, "", ""
        after, url = self.target(end + 1)
        return (after, label, url) if url is not None else (min(after, 0), "", "")

    def target(self, at: int) -> tuple[int, str | None]:
        """Return the end of a link's address in its brackets, and the address; None when a renderer would see none."""
        bound = at + LONGEST
        end = GROUP.match(self.text, at, bound).end()  # type: ignore[union-attr]
        nested = NESTED.match(self.text, end, bound)
        if self.is_short(nested.end() if nested else end) and len(self.text) < bound:
            return MORE, None
        found = TARGET.fullmatch(self.text, at, end + 1) if self.text[end : end + 1] == ")" else None
        return (end + 1, found[1] or found[2] or "") if found else (0, None)
