"""What a document gives when it is read: an opening, then its text page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

PAGE_BREAK = "\f"
"""What joins the pages of a document's text."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What is known before the first page. `pages_total` is 0 for a document without pages.

    Slides, sheets and chapters count as pages. `metadata` is what the document says about itself, such as `source_author`.
    `media_type` is what the document turned out to be once opened; empty when its first bytes had told.
    """

    pages_total: int = 0
    title: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A page, or a part of one.

    `number` counts from 1; 0 for a document without pages. `continues` says that the text carries on the item before
    it, with nothing in between: so a page of any length travels in parts of bounded size. `skipped` says that the page
    could not be read, and is empty for that.
    """

    number: int
    text: str
    continues: bool = False
    skipped: bool = False


class DocumentReader(Protocol):
    """Reads documents of the types that `sniffing` names."""

    def read(
        self, path: Path, media_type: str, password: str = ""
    ) -> AbstractAsyncContextManager[AsyncIterator[Opening | Page]]:
        """Open the file and iterate: one `Opening`, then pages in order, at least one of them with text.

        The reader goes no faster than its items are taken. Leaving the context stops it for good. Raises `InvalidInput`
        with a reason and a sentence for the user when the document cannot be read.
        """
        ...
