"""What a document becomes in another index: its passages with vectors that fit there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Protocol

import numpy as np

from rag.passage import in_context
from rag.vectors import Vectors
from services.retriever.catalogue import Document
from services.retriever.parts import Batch
from services.retriever.passages import Row
from services.retriever.rebuild.copying import Make

ROWS_AT_ONCE = 64
"""What is held in memory of a document, for each of the documents at work."""

Embed = Callable[[str, str, Sequence[str]], Awaitable[Vectors]]
"""Returns the vectors of texts of a tenant's document, shape (len(texts), dimension), of the new index's model."""


class Source(Protocol):
    """The index that is copied from."""

    async def pages(
        self, tenant: str, document_id: str, version: int, first: int, limit: int, *, with_vectors: bool
    ) -> list[Row]:
        """Return up to `limit` rows of one version from the ordinal `first` on, in their order."""


def as_they_are(source: Source) -> Make:
    """Take passages and vectors as they are: only the words are made anew."""

    async def make(tenant: str, document: Document) -> AsyncGenerator[Batch, None]:
        async for rows in stored(source, tenant, document, with_vectors=True):
            vectors = np.stack([row.vector for row in rows if row.vector is not None])
            yield Batch([row.passage for row in rows], vectors, rows[0].title)

    return make


def embedded_anew(source: Source, embed: Embed) -> Make:
    """Take the passages as they are, and vectors of another model."""

    async def make(tenant: str, document: Document) -> AsyncGenerator[Batch, None]:
        async for rows in stored(source, tenant, document, with_vectors=False):
            texts = [in_context(row.title, row.passage.heading, row.passage.text) for row in rows]
            yield Batch([row.passage for row in rows], await embed(tenant, document.id, texts), rows[0].title)

    return make


async def stored(
    source: Source, tenant: str, document: Document, *, with_vectors: bool
) -> AsyncGenerator[list[Row], None]:
    """Yield the rows of a document's live version in their order, some at a time."""
    first = 0
    while rows := await source.pages(
        tenant, document.id, document.version, first, ROWS_AT_ONCE, with_vectors=with_vectors
    ):
        yield rows
        first = rows[-1].passage.ordinal + 1
