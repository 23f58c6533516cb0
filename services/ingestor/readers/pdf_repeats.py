"""Pages that show the same content: read once, and only so many times believed."""

from __future__ import annotations

from collections import OrderedDict

from pypdf import PageObject
from pypdf.errors import LimitReachedError
from pypdf.generic import ArrayObject, DictionaryObject, IndirectObject

from rag.runtime.errors import InvalidInput

_MAX_PAGE_CHARS = 4_000_000
_KEPT_CHARS = 4_000_000
_KEPT_PAGES = 64
_MOST_REPEATED_CHARS = 4_000_000
"""About two thousand pages of text: more of the same is made to keep us busy."""
_MOST_NAMES = 256


class Repeats:
    """The texts of the last pages by what they show. Blank pages and forms repeat in honest documents, and cost nothing."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, str | LimitReachedError] = OrderedDict()
        self._repeated_chars = 0

    def text(self, page: PageObject) -> str:
        """The text of a page. Raises what pypdf raises, and InvalidInput PDF_LIMIT when the document only repeats itself."""
        key = _shown(page)
        if key not in self._kept:
            return self._read(page, key)
        known = self._kept[key]
        if isinstance(known, LimitReachedError):
            raise LimitReachedError(str(known))
        self._repeated_chars += len(known)
        if self._repeated_chars > _MOST_REPEATED_CHARS:
            raise InvalidInput("The PDF shows the same content on more pages than is allowed.", "PDF_LIMIT")
        return known

    def _read(self, page: PageObject, key: str) -> str:
        try:
            text = page.extract_text(extraction_mode="plain")[:_MAX_PAGE_CHARS]
        except LimitReachedError as error:
            self._keep(key, error)
            raise
        self._keep(key, text)
        return text

    def _keep(self, key: str, text: str | LimitReachedError) -> None:
        if not key:
            return
        self._kept[key] = text
        while len(self._kept) > _KEPT_PAGES or (len(self._kept) > 1 and self._kept_chars() > _KEPT_CHARS):
            self._kept.popitem(last=False)

    def _kept_chars(self) -> int:
        return sum(len(text) for text in self._kept.values() if isinstance(text, str))


def _shown(page: PageObject) -> str:
    """Names what a page shows, without reading it; empty when it cannot be named."""
    contents = dict.get(page, "/Contents")
    resources = dict.get(page, "/Resources")
    if not isinstance(contents, IndirectObject | ArrayObject) or not isinstance(
        resources, IndirectObject | DictionaryObject
    ):
        return ""
    names = [len(part) for part in (contents, resources) if isinstance(part, ArrayObject | DictionaryObject)]
    return "" if sum(names) > _MOST_NAMES else f"{contents!r} {resources!r}"
