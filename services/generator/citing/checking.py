"""All that a model's text goes through on its way out, in one pass: links made safe, markers checked, statements counted."""

from __future__ import annotations

from collections.abc import Sequence

from services.generator.citing.citations import CitationChecker
from services.generator.citing.links import LinkFilter
from services.generator.citing.support import unsupported
from services.generator.events import Checks, Citation, Source


class Checking:
    """Takes an answer's text as it comes; returns the text to release, with its citations.

    Args:
        sources: The passages that the model was given.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._links = LinkFilter(sources)
        self._markers = CitationChecker(sources)
        self._citations: list[Citation] = []

    def feed(self, delta: str) -> list[str | Citation]:
        """Return what can be released now: text, and each citation right after the text that ends its marker."""
        text = self._links.feed(delta)
        return self._noted(self._markers.feed(text)) if text else []

    def close(self) -> list[str | Citation]:
        """Return what was held back, at the end of the answer."""
        return self._noted([*self._markers.feed(self._links.close()), *self._markers.close()])

    def checks(self) -> Checks:
        """Return what was found, after the end of the answer."""
        missing = unsupported(self._markers.text(), self._citations)
        return Checks(missing, self._markers.dropped, self._links.removed)

    def _noted(self, released: list[str | Citation]) -> list[str | Citation]:
        self._citations += [piece for piece in released if isinstance(piece, Citation)]
        return released
