"""Cuts text that is stored already anew, as it would be cut if its document came in now."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from rag.ids import check_id
from rag.passage import Passage
from rag.runtime.errors import InvalidInput
from services.ingestor.pages import Page
from services.ingestor.readers.parts import parts
from services.ingestor.splitting import Origin, Sizes, Splitter, TokenCounter

MAX_TITLE_CHARS = 4_096
"""As long as a title in the index may be."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class StoredText:
    """Whose text is cut. Checked when made."""

    document_id: str
    content_hash: str
    title: str

    def __post_init__(self) -> None:
        """Raise `InvalidInput` BAD_ID, BAD_CONTENT_HASH or BAD_TITLE."""
        check_id(self.document_id, "document_id")
        if not _SHA256.fullmatch(self.content_hash):
            raise InvalidInput("content_hash must be a SHA-256 in lower-case hex.", "BAD_CONTENT_HASH")
        if len(self.title) > MAX_TITLE_CHARS:
            message = f"title must be at most {MAX_TITLE_CHARS} characters."
            raise InvalidInput(message, "BAD_TITLE")


class Resplitting:
    """Cuts by the same rules as the pipeline, so that passages and their ids are the ones that it would make."""

    def __init__(self, counter: TokenCounter, sizes: Sizes) -> None:
        self._counter = counter
        self._sizes = sizes

    async def split(
        self, tenant: str, stored: StoredText, pages: AsyncIterator[Page]
    ) -> AsyncGenerator[list[Passage], None]:
        """Yield the passages of the pages as they come, some at a time. A page with the number of the one before continues it.

        Raises:
            InvalidInput: PAGES_OUT_OF_ORDER.
        """
        origin = Origin(tenant, stored.document_id, stored.content_hash)
        splitter = Splitter(origin, self._counter, self._sizes, stored.title)
        last = -1
        async for page in pages:
            if page.number < last:
                raise InvalidInput("The pages of a text come in the order of their numbers.", "PAGES_OUT_OF_ORDER")
            for part in parts(page.number, [page.text]):
                continues = part.continues or page.number == last
                # The tokenizer is native code that lets other threads run.
                if found := await asyncio.to_thread(splitter.cut, Page(part.number, part.text, continues)):
                    yield found
                last = page.number
