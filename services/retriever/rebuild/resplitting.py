"""Splitting anew: a document's text is put together again from its passages, and cut as the ingestor cuts now."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from rag.passage import Passage, in_context
from services.retriever.catalogue import Document
from services.retriever.parts import Batch
from services.retriever.passages import Row
from services.retriever.rebuild.copying import Make
from services.retriever.rebuild.remaking import ROWS_AT_ONCE, Embed, Source, stored

_PAGE_CHARS = 500_000
"""A longer page travels in stretches: it has to be held in memory."""
_BETWEEN_PAGES = 1
"""How many characters stand between two pages of a text."""


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of a page of stored text; stretches with one number follow each other. `number` is 0 without pages."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """Whose text is cut, and the title that it stands under."""

    tenant: str
    document_id: str
    content_hash: str
    title: str


Cut = Callable[[Text, AsyncIterator[Page]], AsyncGenerator[list[Passage], None]]
"""Yields the passages of a text as its pages come, some at a time."""


def split_anew(source: Source, cut: Cut, embed: Embed) -> Make:
    """Cut the documents' text anew, and embed what comes of it."""

    async def make(tenant: str, document: Document) -> AsyncGenerator[Batch, None]:
        head = await source.pages(tenant, document.id, document.version, 0, 1, with_vectors=False)
        title = head[0].title if head else ""
        text = Text(tenant, document.id, document.content_hash, title)
        rows = stored(source, tenant, document, with_vectors=False)
        async with aclosing(rows), aclosing(cut(text, pages(rows))) as cuts, aclosing(_grouped(cuts)) as groups:
            async for group in groups:
                passages = [replace(one, document_id=document.id, version=document.version) for one in group]
                texts = [in_context(title, one.heading, one.text) for one in passages]
                yield Batch(passages, await embed(tenant, document.id, texts), title)

    return make


async def pages(rows: AsyncIterator[list[Row]]) -> AsyncGenerator[Page, None]:
    """Yield the text of a version's passages, each character once and at the place where it was.

    What no passage holds was white space; neighbours on a page may repeat some text.
    """
    end, held = 0, Page(-1, "")
    async for some in rows:
        for passage in (row.passage for row in some):
            is_new_page = passage.page != held.number
            if is_new_page and held.number >= 0:
                yield held
                end += (
                    _BETWEEN_PAGES  # empty pages left theirs too: they count as white space of the next one with text
                )
            more = _white(passage.char_start - end) + passage.text[max(end - passage.char_start, 0) :]
            held = Page(passage.page, more if is_new_page else held.text + more)
            end = max(passage.char_end, end)
            if len(held.text) > _PAGE_CHARS:
                yield held
                held = Page(held.number, "")
    if held.text:
        yield held


def _white(length: int) -> str:
    """Return white space of a length, none below 1; a paragraph ends where there is room for its end."""
    return "\n" * length if length <= 2 else "\n\n" + " " * (length - 2)


async def _grouped(cuts: AsyncIterator[list[Passage]]) -> AsyncGenerator[list[Passage], None]:
    """Yield the passages in groups of a size that embeds well."""
    waiting: list[Passage] = []
    async for some in cuts:
        waiting += some
        while len(waiting) >= ROWS_AT_ONCE:
            yield waiting[:ROWS_AT_ONCE]
            waiting = waiting[ROWS_AT_ONCE:]
    if waiting:
        yield waiting
